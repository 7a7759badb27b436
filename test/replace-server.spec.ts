import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { Load } from './kit/traffic/load.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface SavedServer {
  slot: number;
  ip: string;
  http_port: number;
  weight: number;
  state: string;
}

const versions = haproxyVersions();
/** HAProxy gets servers in other ways in the oldest and in the newest version. */
const tested = [versions[0], versions.at(-1)].filter((one) => one !== undefined);

describe.each(tested)('haproxy_replace_server, HAProxy $version', (haproxy) => {
  /** The slow tests run with one version. */
  const isFirst = haproxy === tested[0];
  let home: Home;
  let suite: Suite;
  const backends: Backend[] = [];
  const address = (index: number) => `127.0.0.1:${backends[index]?.port}`;

  const replace = (body: object, query = '?wait=true') =>
    suite.api<{ status: string; detail: string; code?: string; servers: { pool: string; slot: number }[] }>(
      'POST',
      `/servers/replace${query}`,
      body,
    );
  const serversOf = async (domain: string) =>
    (await suite.api<{ items: SavedServer[] }>('GET', `/domains/${domain}/servers`)).body.items.map(
      ({ slot, http_port, weight, state }) => ({ slot, http_port, weight, state }),
    );
  const revision = async () =>
    (await suite.api<{ components: { mcp: { revision: number } } }>('GET', '/health')).body.components.mcp
      .revision;

  beforeAll(async () => {
    for (const name of ['old', 'other', 'new']) backends.push(await startBackend(name));
    home = await makeHome(haproxy, { HAPROXY_MAX_SLOTS: '3' });
    suite = await Suite.start(home);
    await suite.api('POST', '/import', [
      {
        domain: 'a.example',
        servers: [
          { slot: 2, ip: '127.0.0.1', http_port: backends[0]?.port, weight: 7 },
          { slot: 1, ip: '127.0.0.1', http_port: backends[1]?.port, weight: 3 },
        ],
      },
      { domain: 'b.example', ip: '127.0.0.1', http_port: backends[0]?.port },
      {
        domain: 'c.example',
        servers: [{ slot: 3, ip: '127.0.0.1', http_port: backends[0]?.port, state: 'maint' }],
      },
    ]);
    for (const domain of ['a.example', 'b.example'])
      await suite.api('POST', `/domains/${domain}/wait-healthy`, { timeout: 60 });
  });
  afterAll(async () => {
    await suite?.stop();
    for (const backend of backends) await backend.close();
    await home?.remove();
  });

  it('shows all pools in a dry run, and changes nothing', async () => {
    const before = await revision();
    const { status, body } = await replace({ from: address(0), to: address(2), dry_run: true }, '');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      status: 'planned',
      total: 3,
      left_out: [],
      servers: [
        { slot: 2, domains: ['a.example'], from: address(0), to: address(2), helper_slot: 3 },
        { slot: 1, domains: ['b.example'], helper_slot: 2 },
        { slot: 3, domains: ['c.example'] },
      ],
    });
    expect(JSON.stringify(body)).toMatch(/becomes drain.*when it is idle.*is removed, because/s);
    expect(await revision()).toBe(before);
  });

  it.each([
    [{ from: '127.0.0.1', to: '127.0.0.1' }, 422, 'validation_failed', 'must be another address than from'],
    [{ from: '127.0.0.1', to: '127.0.0.2:80' }, 422, 'validation_failed', 'must have no port'],
    [{ from: 'web1.example', to: '127.0.0.2' }, 422, 'validation_failed', 'from must be an IPv4'],
    [{ from: '10.9.9.9', to: '127.0.0.2' }, 404, 'server_not_found', 'No pool of the suite has a server'],
  ])('refuses %j', async (body, status, code, detail) => {
    const before = await revision();
    const answer = await replace(body);
    expect(answer).toMatchObject({
      status,
      body: { code, detail: expect.stringContaining(detail) as string },
    });
    expect(await revision()).toBe(before);
  });

  it('refuses a control port before it begins, also if only servers in maintenance change', async () => {
    const parked = `127.0.0.1:${await freePort()}`;
    await suite.api('POST', '/import', [
      {
        domain: 'parked.example',
        servers: [{ ip: '127.0.0.1', http_port: Number(parked.split(':')[1]), state: 'maint' }],
      },
    ]);
    const before = await revision();
    for (const from of [address(0), parked])
      for (const dry_run of [true, false]) {
        const answer = await replace({ from, to: `127.0.0.1:${home.apiPort}`, dry_run }, '');
        expect(answer).toMatchObject({ status: 422, body: { code: 'server_is_control' } });
      }
    expect(await revision()).toBe(before);
    await suite.api('DELETE', '/domains/parked.example');
  });

  it.runIf(isFirst)(
    'leaves the old server in service if the new one is not healthy, and says so',
    async () => {
      const before = await serversOf('a.example');
      const answer = await replace({ from: address(0), to: `127.0.0.1:${await freePort()}`, timeout: 1 });
      expect(answer).toMatchObject({
        status: 409,
        body: {
          code: 'server_not_healthy',
          detail: expect.stringMatching(/pool_\d+_\d is .*old server is in service in pool_/) as string,
        },
      });
      expect(await serversOf('a.example')).toEqual(before);
      expect(await get(home.httpPort, 'b.example')).toMatchObject({ status: 200, body: 'old' });
    },
  );

  it.runIf(isFirst)('keeps a busy old server, and finishes when it is called again', async () => {
    const held = get(home.httpPort, 'b.example', '/held');
    await until(() => backends[0]?.lastPath === '/held');
    const first = await replace({ from: address(0), to: address(2), timeout: 8 });
    expect(first.body).toMatchObject({
      status: 'draining',
      detail: expect.stringMatching(/The current worker has 1 connection/) as string,
    });
    expect(await get(home.httpPort, 'b.example')).toMatchObject({ body: 'new' });
    backends[0]?.release('/held');
    expect(await held).toMatchObject({ status: 200, body: 'old' });
    const hosts = [
      { host: 'a.example', bodies: ['new', 'other'] },
      { host: 'b.example', bodies: ['new'] },
    ];
    const load = new Load(home.httpPort, hosts, 100);
    const second = await replace({ from: address(0), to: address(2) });
    const { items } = (await suite.api<{ items: object[] }>('GET', '/domains/a.example/servers')).body;
    // HAProxy has checked the new server in its free slot, so the other server does not carry the whole load.
    expect(items).not.toContainEqual(expect.objectContaining({ slot: 2, status: 'DOWN' }));
    const report = await load.stop();
    expect(second.body).toMatchObject({ status: 'replaced', total: 3 });
    expect(report).toMatchObject({ failed: 0, failures: [] });
    expect(await serversOf('a.example')).toEqual([
      { slot: 1, http_port: backends[1]?.port, weight: 3, state: 'ready' },
      { slot: 2, http_port: backends[2]?.port, weight: 7, state: 'ready' },
    ]);
    expect(await serversOf('b.example')).toEqual([
      { slot: 1, http_port: backends[2]?.port, weight: 1, state: 'ready' },
    ]);
    expect(await serversOf('c.example')).toMatchObject([{ slot: 3, state: 'maint' }]);
  });

  it('moves every request while requests arrive, in a job that the list of operations shows', async () => {
    const load = new Load(home.httpPort, [{ host: 'b.example', bodies: ['new', 'old'] }], 100);
    const [from, to] = (await get(home.httpPort, 'b.example')).body === 'new' ? [2, 0] : [0, 2];
    const accepted = await replace({ from: address(from), to: address(to) }, '');
    expect(accepted.status).toBe(202);
    const listed = await suite.api<{ items: object[] }>('GET', '/operations?limit=1');
    expect(listed.body.items).toMatchObject([{ kind: 'replace_server', actor: 'admin' }]);
    const operation = await until(async () => {
      const { body } = await suite.api<{ items: { status: string }[] }>('GET', '/operations?limit=1');
      return body.items[0]?.status === 'running' ? undefined : body.items[0];
    });
    expect(operation).toMatchObject({ status: 'succeeded' });
    expect(await load.stop()).toMatchObject({ failed: 0, failures: [] });
    expect(await get(home.httpPort, 'b.example')).toMatchObject({ body: to === 0 ? 'old' : 'new' });
    // Each commit has a line, which names it. The newest one says who changed the domain last.
    const { body } = await suite.api<{ items: object[] }>(
      'GET',
      '/audit?domain=b.example&operation=replace_server&limit=3',
    );
    const line = { operation: 'haproxy_replace_server', outcome: 'ok', actor: 'admin' };
    expect(body.items).toMatchObject([
      { ...line, stage: 'the new server takes the slots of the old one' },
      { ...line, stage: 'the old server drains' },
      { ...line, stage: 'the new server joins the pools' },
    ]);
  });

  describe.runIf(isFirst)('that is interrupted', () => {
    interface Record {
      status: string;
      arguments: object;
      error: { detail: string };
    }
    let one: Backend;
    let two: Backend;
    const at = ({ port }: Backend) => `127.0.0.1:${port}`;
    const DOMAIN = 'cut.example';
    const lastRecord = async () => {
      const { body } = await suite.api<{ items: Record[] }>('GET', '/operations?limit=1');
      return body.items[0];
    };
    const slots = async () => (await serversOf(DOMAIN)).map(({ slot, state }) => `${slot} ${state}`);
    /** Starts a replacement, and waits until the servers of the domain are as given. */
    const beginUntil = async (to: string, expected: string[]) => {
      await replace({ from: at(one), to }, '');
      await until(async () => (await slots()).join() === expected.join(), { timeout: 20_000 });
    };
    const JOINED = ['1 ready', '2 ready'];
    const DRAINS = ['1 drain', '2 ready'];

    beforeAll(async () => {
      [one, two] = [await startBackend('one'), await startBackend('two')];
      await suite.api('PUT', `/domains/${DOMAIN}`, { servers: [{ ip: '127.0.0.1', http_port: one.port }] });
      await suite.api('POST', `/domains/${DOMAIN}/wait-healthy`, { timeout: 60 });
    });
    afterAll(async () => {
      await suite.api('DELETE', `/domains/${DOMAIN}`);
      for (const backend of [one, two]) await backend?.close();
    });

    it.each([
      [
        'is not healthy yet',
        JOINED,
        /in pool_\d+_1 \(ready\), and .* in pool_\d+_2 \(ready\)\..*To go back, remove/,
      ],
      [
        'serves and the old one drains',
        DRAINS,
        /pool_\d+_1 \(drain\), and .*To go back, set .* to ready with PUT/,
      ],
    ])(
      'by kill -9 while the new server %s > says what is left and what to call',
      async (_, expected, detail) => {
        const held = expected === DRAINS ? get(home.httpPort, DOMAIN, '/held-kill') : undefined;
        if (held) await until(() => one.lastPath === '/held-kill');
        const to = held ? at(two) : `127.0.0.1:${await freePort()}`;
        await beginUntil(to, expected);
        const load = new Load(home.httpPort, [{ host: DOMAIN, bodies: ['one', 'two'] }], 50);
        await suite.kill();
        suite = await Suite.start(home);
        const record = await lastRecord();
        expect(record).toMatchObject({
          status: 'interrupted',
          arguments: { from: at(one), to },
          error: { detail: expect.stringMatching(detail) as string },
        });
        expect(record?.error.detail).toContain('The saved state has both servers');
        expect(record?.error.detail).toContain('Call POST /api/v1/servers/replace with the same from and to');
        one.release('/held-kill');
        expect([200, undefined]).toContain((await held)?.status);
        // Both ways out lead back to one server in slot 1.
        if (held) expect((await replace({ from: at(one), to })).body).toMatchObject({ status: 'replaced' });
        else await suite.api('DELETE', `/domains/${DOMAIN}/servers/2`);
        if (held) [one, two] = [two, one];
        expect(await slots()).toEqual(['1 ready']);
        expect(await load.stop()).toMatchObject({ failed: 0, failures: [] });
      },
    );

    it('by a stop of the suite > undoes, or says that the new server serves', async () => {
      await beginUntil(`127.0.0.1:${await freePort()}`, JOINED);
      await suite.stop();
      suite = await Suite.start(home);
      expect(await lastRecord()).toMatchObject({
        status: 'interrupted',
        error: { detail: expect.stringContaining('The new server was removed again') as string },
      });
      expect(await slots()).toEqual(['1 ready']);
    });

    it('by a HAProxy that does not answer > says that the change before it stays', async () => {
      const socket = join(home.path, 'run/haproxy.sock');
      const to = `127.0.0.1:${await freePort()}`;
      const running = replace({ from: at(one), to, timeout: 3 });
      await until(async () => (await slots()).join() === JOINED.join());
      // A HAProxy that hangs gives the same error, but only after its time limit for each command.
      await rename(socket, `${socket}.away`);
      const answer = await running;
      await rename(`${socket}.away`, socket);
      expect(answer).toMatchObject({
        status: 503,
        body: {
          code: 'haproxy_unavailable',
          detail: expect.stringMatching(
            /does not answer.*The saved state has both servers: .*To go back, remove/,
          ) as string,
        },
      });
      expect(await slots()).toEqual(JOINED);
      expect((await suite.api('DELETE', `/domains/${DOMAIN}/servers/2`)).status).toBe(200);
    });

    it('by an import that removes the old server > says that no worker of HAProxy uses it', async () => {
      const held = get(home.httpPort, DOMAIN, '/held-import');
      await until(() => one.lastPath === '/held-import');
      const running = replace({ from: at(one), to: at(two) });
      await until(async () => (await slots()).join() === DRAINS.join(), { timeout: 20_000 });
      const line = { domain: DOMAIN, servers: [{ ip: '127.0.0.1', http_port: two.port }] };
      expect((await suite.api('POST', '/import?mode=put', [line])).status).toBe(200);
      one.release('/held-import');
      expect(await held).toMatchObject({ status: 200 });
      const { body } = await running;
      expect(body).toMatchObject({
        status: 'draining',
        detail: expect.stringMatching(
          /pool_\d+_1 was removed meanwhile, and the new server stays in pool_\d+_2\. No worker of HAProxy uses .*can be stopped\..*nothing to finish/,
        ) as string,
      });
      expect(body.detail).not.toContain('Keep the old server running');
    });
  });

  describe.runIf(isFirst)('while somebody else changes servers', () => {
    let late: Backend;
    const slotOne = async () => (await serversOf('b.example')).find(({ slot }) => slot === 1);
    const setState = (state: string) => suite.api('PUT', '/domains/b.example/servers/1/state', { state });

    beforeAll(async () => {
      late = await startBackend('late');
    });
    afterAll(async () => {
      await late?.close();
    });

    it('removes the new server again if the caller leaves before it is healthy', async () => {
      const before = await serversOf('a.example');
      const caller = new AbortController();
      const call = fetch(`${suite.url}/api/v1/servers/replace?wait=true`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await suite.token()}`, 'content-type': 'application/json' },
        body: JSON.stringify({ from: address(0), to: `127.0.0.1:${await freePort()}` }),
        signal: caller.signal,
      }).catch(() => undefined);
      await until(async () => (await serversOf('a.example')).length > before.length, { timeout: 20_000 });
      caller.abort();
      await call;
      const operation = await until(async () => {
        const { body } = await suite.api<{ items: { status: string }[] }>('GET', '/operations?limit=1');
        return body.items[0]?.status === 'running' ? undefined : body.items[0];
      });
      expect(operation).toMatchObject({
        kind: 'replace_server',
        status: 'failed',
        error: { code: 'cancelled', detail: expect.stringContaining('removed again') as string },
      });
      expect(await serversOf('a.example')).toEqual(before);
    });

    it('keeps the new server if somebody declares it meanwhile, although that changes nothing', async () => {
      const before = await serversOf('a.example');
      const to = await freePort();
      const call = replace({ from: address(0), to: `127.0.0.1:${to}`, timeout: 4 });
      const joined = await until(
        async () => {
          const now = await serversOf('a.example');
          return now.length > before.length && now;
        },
        { timeout: 20_000 },
      );
      const declared = await suite.api<{ result: string }>('PUT', '/domains/a.example', {
        servers: joined.map((server) => ({
          ip: '127.0.0.1',
          http_port: server.http_port,
          weight: server.weight,
          state: server.state,
        })),
      });
      expect(declared.body.result).toBe('unchanged');
      expect((await call).body.code).toBe('server_not_healthy');
      expect(await serversOf('a.example')).toEqual(joined);
      const helper = joined.find(({ http_port }) => http_port === to);
      await suite.api('DELETE', `/domains/a.example/servers/${helper?.slot}`);
      expect(await serversOf('a.example')).toEqual(before);
    });

    it('refuses another new server, and does not finish where the old one is ready again', async () => {
      const held = get(home.httpPort, 'b.example', '/held-late');
      await until(() => backends[0]?.lastPath === '/held-late');
      const running = replace({ from: address(0), to: `127.0.0.1:${late.port}` });
      await until(async () => (await slotOne())?.state === 'drain');
      expect(await replace({ from: address(0), to: '127.0.0.1:9' })).toMatchObject({
        status: 409,
        body: {
          code: 'replace_running',
          detail: expect.stringContaining(`by 127.0.0.1:${late.port}`) as string,
        },
      });
      const same = { from: address(0), to: `127.0.0.1:${late.port}` };
      for (const body of [
        { ...same, timeout: 61 },
        { ...same, timeout: 61, dry_run: true },
      ])
        expect(await replace(body)).toMatchObject({
          status: 409,
          body: {
            code: 'replace_running',
            detail: expect.stringContaining('with timeout 60, which cannot be changed') as string,
          },
        });
      const joined = replace({ ...same, timeout: 60 });
      await setState('ready');
      expect((await joined).body).toEqual((await running).body);
      expect((await running).body).toMatchObject({
        status: 'draining',
        detail: expect.stringMatching(/pool_\d+_1: Not draining: slot 1 is ready/) as string,
      });
      backends[0]?.release('/held-late');
      expect(await held).toMatchObject({ body: 'old' });
      expect(await slotOne()).toMatchObject({ state: 'ready', http_port: backends[0]?.port });
    });

    it('sets the old server to ready again if an earlier call drained it and the new one is not healthy', async () => {
      await setState('drain');
      await late.close();
      await until(async () => (await get(home.httpPort, 'b.example')).status === 503);
      const answer = await replace({ from: address(0), to: `127.0.0.1:${late.port}`, timeout: 1 });
      expect(answer).toMatchObject({
        status: 409,
        body: {
          code: 'server_not_healthy',
          detail: expect.stringMatching(
            /was in pool_.* before this call.*pool_\d+_1 and was set to ready again\. The old server is in service in pool_\d+_1\./,
          ) as string,
        },
      });
      expect(answer.body.detail).not.toContain('No healthy server');
      expect(await slotOne()).toMatchObject({ state: 'ready' });
      expect(await get(home.httpPort, 'b.example')).toMatchObject({ status: 200, body: 'old' });
    });

    it('refuses a new server that the pool has in maintenance, and changes nothing', async () => {
      await suite.api('PUT', '/domains/b.example/servers/2/state', { state: 'maint' });
      const before = await revision();
      expect(await replace({ from: address(0), to: `127.0.0.1:${late.port}` })).toMatchObject({
        status: 409,
        body: { code: 'server_not_healthy', detail: expect.stringContaining('its state is maint') as string },
      });
      expect(await revision()).toBe(before);
    });
  });
});
