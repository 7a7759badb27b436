import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface ServerBody {
  slot: number;
  name: string;
  status: string;
  state: string;
  weight: number;
  connections: number;
}

describe.each(haproxyVersions())('Traffic through HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;
  let one: Backend;
  let two: Backend;

  const request = (host: string, path = '/') => get(home.httpPort, host, path);
  const add = (domain: string, to?: Backend) =>
    suite.api('POST', '/domains', { domain, ...(to && { ip: '127.0.0.1', http_port: to.port }) });

  beforeAll(async () => {
    [one, two] = [await startBackend('one'), await startBackend('two')];
    home = await makeHome(haproxy);
    suite = await Suite.start(home);
  });

  afterAll(async () => {
    await suite.stop();
    await Promise.all([one.close(), two.close()]);
    await home.remove();
  });

  it('reaches a domain with the first request after the domain was added', async () => {
    expect((await request('first.example')).status).toBe(404);
    const { status, body } = await add('first.example', one);
    expect([status, body['domain'], body['pool'], body['server_count']]).toEqual([
      201,
      'first.example',
      'pool_1',
      1,
    ]);
    expect(await request('first.example')).toMatchObject({ status: 200, body: 'one' });
    expect(await request('FIRST.example:8080')).toMatchObject({ status: 200, body: 'one' });
    expect(one.lastHeaders).toMatchObject({ 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http' });
    expect((await request('other.first.example')).status).toBe(404);
  });

  it('gets 404 with the first request after the domain was removed', async () => {
    await add('gone.example', one);
    expect((await request('gone.example')).body).toBe('one');
    const { status, body } = await suite.api('DELETE', '/domains/gone.example');
    expect([status, body]).toEqual([
      200,
      {
        domain: 'gone.example',
        pool: 'pool_2',
        removed: true,
        pool_freed: true,
        servers_removed: 1,
        before: {
          domains: [{ domain: 'gone.example', pool: 'pool_2' }],
          servers: [
            { pool: 'pool_2', slot: 1, ip: '127.0.0.1', http_port: one.port, weight: 1, state: 'ready' },
          ],
        },
        revision: expect.any(Number) as unknown,
      },
    ]);
    expect((await request('gone.example')).status).toBe(404);
    expect((await suite.api('DELETE', '/domains/gone.example')).status).toBe(404);
  });

  it('never reaches the old server when the next domain reuses a pool', async () => {
    await add('before.example', one);
    await suite.api('DELETE', '/domains/before.example');
    const { body } = await add('after.example', two);
    expect(body['pool']).toBe('pool_2');
    for (let n = 0; n < 10; n += 1) expect((await request('after.example')).body).toBe('two');
    await suite.api('DELETE', '/domains/after.example');
  });

  it('matches a wildcard for one label and prefers an exact name', async () => {
    await add('*.wild.example', one);
    await add('exact.wild.example', two);
    expect((await request('a.wild.example')).body).toBe('one');
    expect((await request('exact.wild.example')).body).toBe('two');
    expect((await request('wild.example')).status).toBe(404);
    expect((await request('a.b.wild.example')).status).toBe(404);
    expect((await request('.wild.example')).status).not.toBe(200);
    await suite.api('DELETE', '/domains/exact.wild.example');
    expect((await request('exact.wild.example')).body).toBe('one');
    await suite.api('DELETE', '/domains/*.wild.example');
    expect((await request('a.wild.example')).status).toBe(404);
  });

  it('reaches the servers of a shared pool until the last of its domains is removed', async () => {
    const { body } = await add('shared.example', one);
    const joined = await suite.api('POST', '/domains', {
      domain: 'www.shared.example',
      share_with: 'shared.example',
    });
    expect(joined.body).toMatchObject({
      pool: body['pool'],
      shared_with: ['shared.example'],
      server_count: 1,
    });
    await suite.api('DELETE', '/domains/shared.example');
    expect((await request('www.shared.example')).body).toBe('one');
    await suite.api('DELETE', '/domains/www.shared.example');
  });

  it('follows changes of servers, weights and states', async () => {
    await add('pool.example', one);
    const added = await suite.api<ServerBody>('POST', '/domains/pool.example/servers', {
      ip: '127.0.0.1',
      http_port: two.port,
    });
    expect(added).toMatchObject({
      status: 201,
      body: { slot: 2, weight: 1, state: 'ready', status: 'DOWN' },
    });
    const responders = async () =>
      new Set(await Promise.all(Array.from({ length: 8 }, async () => (await request('pool.example')).body)));
    // The first request comes after the first passed check.
    await until(async () => (await responders()).size === 2, { what: 'requests to the new server' });

    await suite.api('PUT', '/domains/pool.example/servers/1/weight', { weight: 0 });
    expect(await responders()).toEqual(new Set(['two']));
    await suite.api('PUT', '/domains/pool.example/servers/1/weight', { weight: 5 });
    const drained = await suite.api<ServerBody>('PUT', '/domains/pool.example/servers/2/state', {
      state: 'drain',
    });
    expect(drained.body).toMatchObject({ state: 'drain', status: 'DRAIN' });
    expect(await responders()).toEqual(new Set(['one']));
    const { body } = await suite.api('PUT', '/domains/pool.example/state', { state: 'maint' });
    expect(body).toMatchObject({
      servers: [
        { slot: 1, status: 'MAINT', weight: 5 },
        { slot: 2, status: 'MAINT' },
      ],
    });
    expect((await request('pool.example')).status).toBe(503);
    await suite.api('PUT', '/domains/pool.example/state', { state: 'ready' });
    expect((await request('pool.example')).status).toBe(200);

    await suite.api('DELETE', '/domains/pool.example/servers/1');
    expect(await responders()).toEqual(new Set(['two']));
    const list = await suite.api<{ items: ServerBody[]; total: number }>(
      'GET',
      '/domains/pool.example/servers',
    );
    expect(list.body).toMatchObject({
      total: 1,
      items: [{ slot: 2, name: expect.stringMatching(/^pool_\d+_2$/) }],
    });
    await suite.api('DELETE', '/domains/pool.example');
  });

  it('finishes a request in progress when its server is removed and the slot is reused', async () => {
    await add('slow.example', one);
    const slow = request('slow.example', '/held/slot');
    await until(
      async () => {
        const { body } = await suite.api<{ items: ServerBody[] }>('GET', '/domains/slow.example/servers');
        return body.items[0]?.connections === 1;
      },
      { what: 'the slow request being counted' },
    );
    const wait = await suite.api('POST', '/domains/slow.example/servers/1/wait-drain', { timeout: 1 });
    expect(wait).toMatchObject({ status: 200, body: { servers: [{ slot: 1, state: 'ready' }] } });
    expect((await suite.api('DELETE', '/domains/slow.example/servers/1')).status).toBe(200);
    const again = await suite.api<ServerBody>('POST', '/domains/slow.example/servers', {
      slot: 1,
      ip: '127.0.0.1',
      http_port: two.port,
    });
    expect(again).toMatchObject({ status: 201, body: { slot: 1 } });
    expect((await request('slow.example')).body).toBe('two');
    one.release('/held/slot');
    expect(await slow).toMatchObject({ status: 200, body: 'one' });
    await suite.api('DELETE', '/domains/slow.example');
  });

  it('is drained when wait-drain returns, unless the timeout comes first', async () => {
    await add('wait.example', one);
    const slow = request('wait.example', '/held/drain');
    await until(
      () =>
        one.count > 0 &&
        suite
          .api('GET', '/domains/wait.example/servers')
          .then(({ body }) => (body['items'] as ServerBody[])[0]?.connections === 1),
    );
    await suite.api('PUT', '/domains/wait.example/servers/1/state', { state: 'drain' });
    const early = await suite.api('POST', '/domains/wait.example/servers/0/wait-drain', { timeout: 1 });
    expect(early.body).toMatchObject({
      drained: false,
      servers: [{ slot: 1, state: 'drain', connections: 1 }],
    });
    const waiting = suite.api('POST', '/domains/wait.example/servers/1/wait-drain', {});
    one.release('/held/drain');
    const late = await waiting;
    expect(late.body).toMatchObject({ drained: true, servers: [{ connections: 0 }] });
    expect((await slow).body).toBe('one');
    await suite.api('DELETE', '/domains/wait.example');
  });

  it('follows a PUT of a domain, which changes nothing when it is repeated', async () => {
    const put = (to: Backend) =>
      suite.api('PUT', '/domains/put.example', { ip: '127.0.0.1', http_port: to.port });
    expect(await put(one)).toMatchObject({ status: 201, body: { result: 'created', server_count: 1 } });
    const { body } = await suite.api('GET', '/health/../domains?search=put.example');
    expect(await put(one)).toMatchObject({ status: 200, body: (body['items'] as object[])[0] as object });
    await put(two);
    expect((await request('put.example')).body).toBe('two');
    await suite.api('DELETE', '/domains/put.example');
  });

  it('reaches servers that were added in one bulk change', async () => {
    await add('bulk.example');
    expect((await request('bulk.example')).status).toBe(503);
    const { status, body } = await suite.api<{ servers: ServerBody[] }>(
      'POST',
      '/domains/bulk.example/servers/bulk',
      {
        servers: [
          { ip: '127.0.0.1', http_port: one.port },
          { slot: 1, ip: '127.0.0.1', http_port: two.port },
          { slot: 5, ip: '::1', http_port: 9, weight: 0 },
        ],
      },
    );
    expect([status, body.servers.map((server) => server.slot)]).toEqual([201, [2, 1, 5]]);
    expect((await request('bulk.example')).status).toBe(200);
    await suite.api('DELETE', '/domains/bulk.example');
  });

  it('has domains that can be listed with search, wildcards and pages', async () => {
    for (const name of ['c', 'a', 'b']) await add(`${name}.list.example`);
    await add('*.list.example');
    interface List {
      items: { domain: string }[];
      next_cursor: string | null;
      total: number;
    }
    const list = async (query: string) => (await suite.api<List>('GET', `/domains?${query}`)).body;
    const names = (page: List) => page.items.map((item) => item.domain);
    expect(names(await list('search=list.example'))).toEqual([
      'a.list.example',
      'b.list.example',
      'c.list.example',
    ]);
    expect((await list('search=list.example&include_wildcards=true')).total).toBe(4);
    const first = await list('search=list.example&limit=2');
    expect([names(first), first.total]).toEqual([['a.list.example', 'b.list.example'], 3]);
    const second = await list(`search=list.example&limit=2&cursor=${first.next_cursor}`);
    expect([names(second), second.next_cursor]).toEqual([['c.list.example'], null]);
    for (const name of ['a', 'b', 'c', '*']) await suite.api('DELETE', `/domains/${name}.list.example`);
  });
});
