import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PersistenceService } from '../src/persistence/persistence.service.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { makeCertificate } from './kit/certificates/certificates.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { Load } from './kit/traffic/load.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type RunningHaproxy, startHaproxy } from './kit/haproxy/start-haproxy.js';
import { type Observed, observe, tamper } from './observe/fixture.js';

type Json = Record<string, unknown>;
interface Server {
  slot: number;
  ip: string;
  http_port: number;
  weight: number;
  state: string;
  status: string;
}
interface Put extends Json {
  pool: string;
  result: string;
  servers: Server[];
  also_changed: string[];
  plan?: { action: string; name: string; text: string }[];
}

const MAX_SLOTS = 3;
const ALL_NULL = {
  ...{ ip: null, http_port: null, servers: null, share_with: null, backend: null },
  ...{ labels: null, expires_in: null, expires_at: null },
};
const MANY_LABELS = Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, 'v']));

describe.each(haproxyVersions())('declared domains, with HAProxy $version', (binary) => {
  let haproxy: RunningHaproxy;
  let suite: Observed;
  let backends: Record<'one' | 'two' | 'three' | 'four' | 'five' | 'six', Backend>;
  let token: string;

  const to = (name: keyof typeof backends, values: object = {}) => ({
    ip: '127.0.0.1',
    http_port: backends[name].port,
    ...values,
  });
  const rest = async <T = Json>(method: string, path: string, body?: object, headers: object = {}) => {
    const response = await fetch(`http://127.0.0.1:${suite.settings.api.port}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    return {
      status: response.status,
      location: response.headers.get('location'),
      body: (await response.json()) as T,
    };
  };
  const put = (domain: string, body: object) => rest<Put>('PUT', `/domains/${domain}`, body);
  /** Lets domains expire in a second. On a busy machine the time can have passed before the suite reads it: a refusal. */
  const expireSoon = (...domains: string[]) =>
    until(async () => {
      const time = new Date(Date.now() + 1_000).toISOString();
      const lines = domains.map((domain) => ({ domain, expires_at: time }));
      const { status, body } = await rest<{ revision: number }>('POST', '/import?mode=put', lines);
      return status === 200 && { expires_at: time, before: body.revision };
    });
  const revision = () => suite.app.get(PersistenceService).state.revision;
  /** `slot address weight state` of each server of an answer. */
  const short = (servers: readonly Server[]) =>
    servers.map(({ slot, http_port, weight, state }) => `${slot} ${nameOf(http_port)} ${weight} ${state}`);
  const nameOf = (port: number) =>
    Object.entries(backends).find(([, backend]) => backend.port === port)?.[0] ?? String(port);
  /** The same, as HAProxy has it. Servers that it still deletes are left out. */
  const live = async (pool: string) =>
    (await tamper(haproxy, `show servers state ${pool}`))
      .split('\n')
      .map((line) => line.split(' '))
      .filter((row) => row.length > 18 && row[0] !== '#')
      .map((row) => {
        const admin = Number(row[6]);
        const state = (admin & 1) !== 0 ? 'maint' : (admin & 8) !== 0 ? 'drain' : 'ready';
        return `${/_(\d+)$/.exec(row[3] ?? '')?.[1]} ${nameOf(Number(row[18]))} ${row[7]} ${state}`;
      })
      .toSorted();
  const mapOf = async (name: string) =>
    (await tamper(haproxy, `show map ${haproxy.mapFile}`))
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([, key]) => key === name)
      .map(([, , pool]) => pool);
  /** Everything that a refused call must leave as it was. */
  const everything = async () => [
    revision(),
    await readFile(suite.settings.files.servers, 'utf8'),
    await readFile(suite.settings.files.map, 'utf8'),
    await readFile(suite.settings.files.pools, 'utf8'),
    await tamper(haproxy, `show map ${haproxy.mapFile}`),
    (await tamper(haproxy, 'show servers state'))
      .split('\n')
      .map((line) => line.split(' ').slice(0, 8).join(' ')),
  ];

  beforeAll(async () => {
    const names = ['one', 'two', 'three', 'four', 'five', 'six'] as const;
    const started = await Promise.all(names.map(async (name) => [name, await startBackend(name)] as const));
    backends = Object.fromEntries(started) as typeof backends;
    haproxy = await startHaproxy(binary, {
      poolsText: `backend be_static from pools\n  server s1 127.0.0.1:${backends.six.port}\n`,
    });
    suite = await observe(haproxy, { HAPROXY_MAX_SLOTS: String(MAX_SLOTS) });
    await suite.untilReady();
    token = /^MCP_TOKEN=(\S+)$/m.exec(await readFile(suite.settings.files.token, 'utf8'))?.[1] ?? '';
  });
  afterAll(async () => {
    await suite.close();
    await haproxy.stop();
    await Promise.all(Object.values(backends).map((backend) => backend.close()));
  });
  afterEach(async () => {
    const { items } = (await rest<{ items: { domain: string }[] }>('GET', '/domains?include_wildcards=true'))
      .body;
    for (const { domain } of items) await rest('DELETE', `/domains/${encodeURIComponent(domain)}`);
  });

  const isFirst = binary.path === oldestHaproxy().path;
  /** For what depends on the suite alone. */
  const itOnce = isFirst ? it : undefined;

  describe('PUT of a domain with two servers', () => {
    type Row = [title: string, given: () => Json, result: string, servers: string[]];
    const present = ['1 one 5 drain', '2 two 1 ready'];
    const rows: Row[] = [
      ['nothing', () => ({}), 'unchanged', present],
      ['null for every field', () => ALL_NULL, 'unchanged', present],
      ['an empty list', () => ({ servers: [] }), 'changed', []],
      [
        'the same list',
        () => ({ servers: [to('two'), to('one', { weight: 5, state: 'drain' })], http_port: 80 }),
        'unchanged',
        present,
      ],
      [
        'servers without weight and state, which get the defaults',
        () => ({ servers: [to('one'), to('two', { weight: null, state: null })] }),
        'changed',
        ['1 one 1 ready', '2 two 1 ready'],
      ],
      [
        'another list, in which a server that stays keeps its slot',
        () => ({ servers: [to('three', { weight: 80 }), to('two', { weight: 20 })] }),
        'changed',
        ['2 two 20 ready', '3 three 80 ready'],
      ],
      [
        'more new servers than free slots',
        () => ({ servers: [to('three'), to('four', { weight: 0 }), to('five', { state: 'maint' })] }),
        'changed',
        ['1 four 0 ready', '2 five 1 maint', '3 three 1 ready'],
      ],
      ['the address of one of its servers', () => to('two'), 'unchanged', present],
      ['the port of one of its servers', () => ({ http_port: backends.one.port }), 'unchanged', present],
    ];

    const withNewServers = rows.filter(([, , , servers]) =>
      servers.some((server) => server.includes('three')),
    );
    it.each(isFirst ? rows : withNewServers)(
      '%s > is the same by REST and MCP, in a dry run and for real',
      async (_, given, result, servers) => {
        for (const way of ['rest', 'mcp'] as const) {
          const domain = `${way}.example`;
          const call = async (dry_run: boolean): Promise<Put> => {
            const input = { ...given(), dry_run };
            if (way === 'mcp') return suite.tool<Put>('haproxy_put_domain', { domain, ...input });
            const answer = await put(domain, input);
            expect([answer.status, answer.location], JSON.stringify(answer.body)).toEqual([200, null]);
            return answer.body;
          };
          const made = await put(domain, { servers: [to('one', { weight: 5, state: 'drain' }), to('two')] });
          expect([made.status, short(made.body.servers)]).toEqual([201, present]);
          const { pool } = made.body;
          const before = await everything();

          const dry = await call(true);
          expect([dry.result, short(dry.servers), dry['dry_run']]).toEqual([result, servers, true]);
          expect(dry.plan?.length === 0).toBe(result === 'unchanged');
          expect(await everything()).toEqual(before);

          const real = await call(false);
          expect([real.result, short(real.servers), real['before']]).toEqual([
            result,
            servers,
            dry['before'],
          ]);
          expect(revision()).toBe((before[0] as number) + (result === 'changed' ? 1 : 0));
          await until(async () => (await live(pool)).join() === servers.join(), {
            what: `${pool} in HAProxy`,
          });
          expect((await call(false)).result).toBe('unchanged');
          expect((await rest('GET', `/domains/${domain}`)).body).toMatchObject({
            pool,
            servers: real.servers.map(({ slot }) => ({ slot })),
          });
        }
      },
    );
  });

  it('a new domain > is 201 with Location, with all its servers at once, by PUT and by POST', async () => {
    const servers = [to('one', { weight: 80 }), to('two', { weight: 20 })];
    const before = revision();
    const created = await put('new.example', { servers });
    expect(created).toMatchObject({
      status: 201,
      location: '/api/v1/domains/new.example',
      body: { result: 'created', wildcard: false, external: false, server_count: 2, also_changed: [] },
    });
    expect(created.body).not.toHaveProperty('before');
    expect(short(created.body.servers)).toEqual(['1 one 80 ready', '2 two 20 ready']);
    expect(revision()).toBe(before + 1);
    const posted = await rest('POST', '/domains', { domain: '*.New.example', servers });
    expect([posted.status, posted.location]).toEqual([201, '/api/v1/domains/*.new.example']);
    expect((await rest('GET', posted.location?.slice('/api/v1'.length) ?? '')).body).toMatchObject({
      wildcard: true,
      servers: [{ weight: 80 }, { weight: 20 }],
    });
    // Some models write a list as text.
    const text = { domain: 'text.example', servers: JSON.stringify(servers) };
    expect(await suite.tool('haproxy_put_domain', text)).toMatchObject({
      result: 'created',
      server_count: 2,
    });
    expect(await suite.tool('haproxy_get_domain', { domain: 'text.example' })).toMatchObject({
      domain: 'text.example',
      shared_with: [],
      servers: [{ slot: 1, status: expect.stringMatching(/^(?:checking|UP)$/) as string }, { slot: 2 }],
    });
    const bodies = new Set<string>();
    await until(async () => bodies.add((await get(haproxy.httpPort, 'text.example')).body).size === 2);
    expect([...bodies].toSorted()).toEqual(['one', 'two']);
  });

  itOnce?.('the address alone > sets that of the only server, and what is absent stays', async () => {
    await put('only.example', { servers: [to('one', { weight: 7 })] });
    expect(short((await put('only.example', { http_port: backends.two.port })).body.servers)).toEqual([
      '1 two 7 ready',
    ]);
    expect((await put('only.example', { ip: '127.0.0.1' })).body.result).toBe('unchanged');
    const moved = await put('only.example', { ip: '127.0.0.2' });
    expect(moved.body).toMatchObject({
      result: 'changed',
      servers: [{ ip: '127.0.0.2', http_port: backends.two.port, weight: 7 }],
      before: { servers: [{ ip: '127.0.0.1', http_port: backends.two.port }] },
    });
    await put('empty.example', { servers: [] });
    expect(await put('empty.example', { http_port: backends.two.port })).toMatchObject({
      status: 422,
      body: { errors: [{ field: 'http_port', message: 'is the port of ip, which is not given' }] },
    });
  });

  it('servers of a shared pool > the plan, the answer and before name what changes with it', async () => {
    await put('a.example', { servers: [to('one')] });
    await rest('POST', '/domains', { domain: 'b.example', share_with: 'a.example' });
    const change = { servers: [to('two')] };
    const dry = (await put('a.example', { ...change, dry_run: true })).body;
    expect(dry.also_changed).toEqual(['b.example']);
    expect(dry.plan?.map(({ text }) => text)).toEqual(
      expect.arrayContaining([
        `${dry.pool}_2 becomes 127.0.0.1:${backends.two.port}, weight 1, ready (shared by a.example, b.example)`,
        `${dry.pool}_1 is removed; its running requests finish (shared by a.example, b.example)`,
      ]),
    );
    const real = (await put('a.example', change)).body;
    expect(real).toMatchObject({
      result: 'changed',
      shared_with: ['b.example'],
      also_changed: ['b.example'],
      before: { domains: [], servers: [{ slot: 1, http_port: backends.one.port }] },
    });
    expect((await get(haproxy.httpPort, 'b.example')).body).toBe('two');
    expect((await put('a.example', change)).body).toMatchObject({ result: 'unchanged', also_changed: [] });
  });

  it('share_with and backend > move the domain; an external pool keeps its servers', async () => {
    await put('a.example', { servers: [to('one')] });
    const { pool } = (await put('b.example', { servers: [to('two')] })).body;
    expect((await put('b.example', { share_with: 'a.example' })).body).toMatchObject({
      result: 'changed',
      shared_with: ['a.example'],
      also_changed: [],
      before: { domains: [{ domain: 'b.example', pool }], servers: [{ pool, http_port: backends.two.port }] },
    });
    expect((await get(haproxy.httpPort, 'b.example')).body).toBe('one');
    expect((await put('b.example', { share_with: 'b.example' })).body.result).toBe('unchanged');
    const external = { backend: 'be_static' };
    expect((await put('b.example', external)).body).toMatchObject({ external: true, servers: [] });
    expect((await put('b.example', external)).body.result).toBe('unchanged');
    expect((await get(haproxy.httpPort, 'b.example')).body).toBe('six');
    for (const body of [{ servers: [to('one')] }, { servers: [] }, to('one')])
      expect(await put('b.example', body)).toMatchObject({ status: 409, body: { code: 'pool_external' } });
    expect((await rest('GET', '/domains/b.example')).body).toMatchObject({ external: true, servers: [] });
    expect(await suite.tool('haproxy_rename_domain', { domain: 'b.example', to: 'c.example' })).toMatchObject(
      { domain: 'c.example', external: true, pool: 'be_static' },
    );
    expect([await mapOf('b.example'), await mapOf('c.example')]).toEqual([[], ['be_static']]);
    expect((await put('c.example', { share_with: 'a.example' })).body).toMatchObject({ external: false });
  });

  itOnce?.('bad input > is refused with its code and changes nothing, by REST and MCP', async () => {
    await put('a.example', { servers: [to('one'), to('two'), to('three')] });
    await put('b.example', { servers: [to('one')] });
    await rest('POST', '/domains', { domain: 'shared.example', share_with: 'b.example' });
    const api = suite.settings.api.port;
    const before = await everything();
    const bad: [domain: string, body: Json, code: string, field?: string][] = [
      ['a.example', { servers: [{}] }, 'validation_failed', 'servers[0].ip'],
      ['a.example', { servers: [to('one'), to('one')] }, 'validation_failed', 'servers[1]'],
      ['a.example', { servers: [to('one', { weight: 257 })] }, 'validation_failed', 'servers[0].weight'],
      ['a.example', { servers: [to('one', { state: 'down' })] }, 'validation_failed', 'servers[0].state'],
      ['a.example', { servers: [to('one', { slot: 2 })] }, 'validation_failed', 'servers[0].slot'],
      ['a.example', { servers: {} }, 'validation_failed', 'servers'],
      ['a.example', { servers: [], ip: '10.0.0.1' }, 'validation_failed', 'servers'],
      ['a.example', { servers: [], share_with: 'b.example' }, 'validation_failed', 'share_with'],
      ['a.example', { servers: [], http_port: 81 }, 'validation_failed', 'http_port'],
      ['a.example', { share_with: 'b.example', backend: 'be_static' }, 'validation_failed', 'backend'],
      ['a.example', { backend: 'be_none' }, 'validation_failed', 'backend'],
      ['a.example', { backend: 'pool_1' }, 'validation_failed', 'backend'],
      ...[0, -1, '0', '-1', '1x', '1', '01h', '1s', '1.5h', ' 1h', '3654d', '99999999d'].map(
        (expires_in): [string, Json, string, string] => [
          'n.example',
          { expires_in },
          'validation_failed',
          'expires_in',
        ],
      ),
      ...[
        5,
        'soon',
        '2020-01-01T00:00:00Z',
        '2126-01-01T00:00:00Z',
        '2027-02-30T00:00:00Z',
        '2030-01-01T24:00:00Z',
        '2030-01-01',
      ].map((expires_at): [string, Json, string, string] => [
        'a.example',
        { expires_at },
        'validation_failed',
        'expires_at',
      ]),
      [
        'a.example',
        { expires_in: '1h', expires_at: '2030-01-01T00:00:00Z' },
        'validation_failed',
        'expires_at',
      ],
      ...[
        MANY_LABELS,
        { a: 'x'.repeat(1000) },
        { a: '' },
        { a: 1 },
        { 'a b': 'c' },
        { a: 'b\nc' },
        [],
        'team',
      ].map((labels): [string, Json, string, string] => [
        'a.example',
        { labels },
        'validation_failed',
        'labels',
      ]),
      ['a.example', { labels: { ['k'.repeat(64)]: 'v' } }, 'validation_failed', 'labels'],
      ['a.example', { share_with: 'none.example' }, 'domain_not_found'],
      ['a.example', { ip: '10.9.9.9' }, 'domain_exists'],
      ['shared.example', { ip: '10.9.9.9' }, 'domain_exists'],
      ['a.example', { servers: ['1', '2', '3', '4'].map((n) => ({ ip: `10.0.0.${n}` })) }, 'pool_full'],
      ['n.example', { servers: ['1', '2', '3', '4'].map((n) => ({ ip: `10.0.0.${n}` })) }, 'pool_full'],
      ['a.example', { servers: [{ ip: '127.0.0.1', http_port: api }] }, 'server_is_control'],
      ['n.example', { servers: [{ ip: '127.0.0.1', http_port: api }] }, 'server_is_control'],
    ];
    for (const [domain, body, code, field] of bad)
      for (const dry_run of [true, false]) {
        const answer = await rest('PUT', `/domains/${domain}`, { ...body, dry_run });
        expect(answer.body, JSON.stringify(body)).toMatchObject({
          code,
          ...(field !== undefined && {
            errors: expect.arrayContaining([expect.objectContaining({ field })]) as unknown,
          }),
        });
      }
    for (const [domain, body, code] of bad)
      expect(await suite.failure('haproxy_put_domain', { domain, ...body })).toBe(code);
    const renames: [from: string, body: Json, code: string][] = [
      ['a.example', { to: 'b.example' }, 'domain_exists'],
      ['a.example', { to: 'A.example.' }, 'domain_exists'],
      ['none.example', { to: 'new.example' }, 'domain_not_found'],
      ['a.example', { to: 'not a name' }, 'validation_failed'],
      ['a.example', {}, 'validation_failed'],
      ['a.example', { to: 'new.example', ip: '10.0.0.1' }, 'validation_failed'],
    ];
    for (const [from, body, code] of renames) {
      expect((await rest('POST', `/domains/${from}/rename`, body)).body).toMatchObject({ code });
      expect(await suite.failure('haproxy_rename_domain', { domain: from, ...body })).toBe(code);
    }
    expect((await rest('DELETE', '/domains/none.example')).body).toMatchObject({ code: 'domain_not_found' });
    expect((await rest('DELETE', '/domains/a.example?missing_ok=maybe')).body).toMatchObject({
      code: 'validation_failed',
    });
    expect((await rest('GET', '/domains/none.example')).body).toMatchObject({ code: 'domain_not_found' });
    expect(await everything()).toEqual(before);
  });

  itOnce?.('labels and expiry > are kept, replaced and removed by PUT, and filter the list', async () => {
    const labels = { team: 'web', 'ci/pr': '7' };
    const expires_at = '2030-01-01T00:00:00Z';
    const made = await rest('POST', '/domains', {
      domain: 'a.example',
      labels,
      expires_at: '2030-01-01T02:00:00+02:00',
    });
    expect(made).toMatchObject({ status: 201, body: { labels, expires_at } });
    const before = revision();
    expect((await put('a.example', { labels, expires_at })).body.result).toBe('unchanged');
    expect((await put('a.example', {})).body).toMatchObject({ result: 'unchanged', labels, expires_at });
    expect(revision()).toBe(before);
    const dry = (await put('a.example', { labels: { team: 'b' }, expires_in: '7d', dry_run: true })).body;
    expect(dry).toMatchObject({
      result: 'changed',
      labels: { team: 'b' },
      before: { domains: [{ site: { labels } }] },
    });
    expect(dry.plan).toHaveLength(1);
    expect(revision()).toBe(before);
    const extended = (await put('a.example', { expires_in: '7d' })).body;
    const days = (Date.parse(String(extended['expires_at'])) - Date.now()) / 86_400_000;
    expect([Math.round(days), extended['labels']]).toEqual([7, labels]);
    // Some models write an object as text.
    expect(
      await suite.tool('haproxy_put_domain', {
        domain: 'b.example',
        labels: '{"team":"ops"}',
        expires_in: '12h',
      }),
    ).toMatchObject({ result: 'created', labels: { team: 'ops' } });
    await put('*.w.example', { labels: { team: 'web' } });
    await put('none.example', { servers: [to('one')] });
    const list = async (query: string) =>
      (await rest<{ items: { domain: string }[]; total: number }>('GET', `/domains?${query}`)).body;
    const listed = async (query: string) => (await list(query)).items.map(({ domain }) => domain);
    expect(await listed('label=team')).toEqual(['a.example', 'b.example']);
    expect(await listed('label=team%3Dweb&include_wildcards=true')).toEqual(['*.w.example', 'a.example']);
    expect(await listed('label=ci/pr%3D8')).toEqual([]);
    expect(await listed('expires_within=1d')).toEqual(['b.example']);
    expect(await listed('expires_within=8d&label=ci/pr&search=A.EX')).toEqual(['a.example']);
    expect(await list('expires_within=8d&limit=1')).toMatchObject({ items: [{ labels }], total: 2 });
    expect(await suite.tool('haproxy_list_domains', { label: 'team=ops' })).toMatchObject({ total: 1 });
    for (const bad of ['label=', 'label=%3Dx', 'expires_within=0', 'expires_within=1x'])
      expect((await rest('GET', `/domains?${bad}`)).body, bad).toMatchObject({ code: 'validation_failed' });
    // A rename, another pool and other servers keep both.
    const kept = { labels, expires_at: extended['expires_at'] };
    expect((await rest('POST', '/domains/a.example/rename', { to: 'c.example' })).body).toMatchObject(kept);
    expect((await put('c.example', { share_with: 'b.example' })).body).toMatchObject(kept);
    expect((await put('c.example', { backend: 'be_static' })).body).toMatchObject(kept);
    await put('d.example', { servers: [to('one')], ...kept });
    const replaced = { from: `127.0.0.1:${backends.one.port}`, to: `127.0.0.1:${backends.two.port}` };
    expect((await rest('POST', '/servers/replace?wait=true', replaced)).status).toBe(200);
    expect((await rest('GET', '/domains/d.example')).body).toMatchObject(kept);
    // An export has both, and each mode of an import brings them back.
    const lines = (await suite.text('/api/v1/export')).text;
    const state = await readFile(suite.settings.files.servers, 'utf8');
    const sites = (text: string) => (JSON.parse(text) as { sites: Json }).sites;
    const load = (mode: string, body: object[]) => rest('POST', `/import?mode=${mode}`, body);
    const records = lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Json);
    for (const mode of ['merge', 'replace']) {
      for (const domain of ['b.example', 'c.example', 'd.example'])
        await put(domain, { labels: {}, expires_in: 'never' });
      expect(sites(await readFile(suite.settings.files.servers, 'utf8'))).toEqual({
        '*.w.example': { labels: { team: 'web' } },
      });
      expect((await load(mode, records)).status).toBe(200);
      expect(sites(await readFile(suite.settings.files.servers, 'utf8'))).toEqual(sites(state));
    }
    expect((await load('merge', [{ domain: 'd.example', expires_in: '1h' }])).body).toMatchObject({
      code: 'validation_failed',
    });
    const late = { expires_at: '2126-01-01T00:00:00Z' };
    for (const [mode, record] of [
      ['put', { domain: 'd.example', ...late }],
      ['merge', { domain: 'd.example', site: late }],
      ['put', { domain: 'd.example', labels: { constructor: 'x' } }],
      ['merge', { domain: 'd.example', site: { labels: { toString: 'x' } } }],
    ] as const)
      expect((await load(mode, [record])).body).toMatchObject({
        code: 'validation_failed',
        errors: [{ field: 'line 1' }],
      });
    // A file keeps an entry after its domain has expired. A wrong date removes no domain that is there.
    await put('passed.example', { servers: [to('one')] });
    const passed = { expires_at: '2020-01-01T00:00:00Z' };
    expect((await load('put', [{ domain: 'gone.example', ...passed }])).body).toMatchObject({
      domains_added: 0,
      skipped_count: 1,
      skipped: [{ line: 1, message: expect.stringMatching(/^gone\.example: .* has passed/) as unknown }],
    });
    expect((await load('put', [{ domain: 'passed.example', ...passed }])).body).toMatchObject({
      code: 'validation_failed',
      errors: [{ field: 'line 1' }],
    });
    expect((await rest('GET', '/domains/passed.example')).body).not.toHaveProperty('expires_at');
    expect(
      (
        await load('put', [
          { domain: 'd.example', labels: { a: 'b' } },
          { domain: 'c.example', expires_in: 'never' },
        ])
      ).status,
    ).toBe(200);
    expect((await rest('GET', '/domains/d.example')).body).toMatchObject({
      labels: { a: 'b' },
      expires_at: kept.expires_at,
    });
    expect((await rest('GET', '/domains/c.example')).body).not.toHaveProperty('expires_at');
  });

  itOnce?.('an expiry while the suite is stopped > the next start removes the domain', async () => {
    await put('a.example', { servers: [to('one')] });
    const { status, body } = await put('gone.example', { servers: [to('two')], expires_in: '1d' });
    expect(status).toBe(201);
    await suite.close();
    const file = suite.settings.files.servers;
    const text = await readFile(file, 'utf8');
    await writeFile(
      file,
      text.replace(String(body['expires_at']), new Date(0).toISOString().replace('.000', '')),
    );
    suite = await observe(haproxy, { HAPROXY_MAX_SLOTS: String(MAX_SLOTS) });
    await suite.untilReady();
    await until(async () => (await rest('GET', '/domains/gone.example')).status === 404, {
      what: 'the removal',
    });
    expect(await mapOf('gone.example')).toEqual([]);
    expect((await get(haproxy.httpPort, 'a.example')).body).toBe('one');
  });

  it('an expiry > removes all due domains as one change, and other sites lose no request', async () => {
    await put('stays.example', { servers: [to('one')] });
    const made = await put('never.example', { servers: [to('three')], expires_in: '10d' });
    const load = new Load(haproxy.httpPort, [
      { host: 'stays.example', bodies: ['one'] },
      { host: 'never.example', bodies: ['three'] },
    ]);
    await put('shared.example', { share_with: 'stays.example', expires_in: '1d' });
    const { pool } = (await put('own.example', { servers: [to('two')], expires_in: '1d' })).body;
    await until(async () => (await get(haproxy.httpPort, 'own.example')).body === 'two');
    const { expires_at, before } = await expireSoon('own.example', 'shared.example');
    await until(async () => (await rest('GET', '/domains/own.example')).status === 404, {
      what: 'the expiry',
    });
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expires_at));
    expect(revision()).toBe(before + 1);
    expect([await mapOf('own.example'), await mapOf('shared.example')]).toEqual([[], []]);
    expect((await get(haproxy.httpPort, 'own.example')).status).toBe(
      (await get(haproxy.httpPort, 'unknown.example')).status,
    );
    await until(async () => (await live(pool)).length === 0, { what: 'the removal of its server' });
    expect(await load.stop()).toMatchObject({ failed: 0, failures: [] });
    const { items } = (await rest<{ items: Json[] }>('GET', '/audit?actor=expiry&limit=1')).body;
    expect(items).toMatchObject([
      {
        operation: 'haproxy_expire_scheduled',
        arguments: { domains: expect.arrayContaining(['own.example', 'shared.example']) as unknown },
        revision_after: before + 1,
        before: { servers: [{ pool, http_port: backends.two.port }] },
      },
    ]);
    expect((await rest('GET', '/domains/stays.example')).body).toMatchObject({
      shared_with: [],
      server_count: 1,
    });
    expect((await rest('GET', '/domains/never.example')).body).toMatchObject({
      expires_at: made.body['expires_at'],
    });
  });

  it('a preview > is made, changed with its ETag, expires, and comes back, over REST and over MCP', async () => {
    const [start, names] = [revision(), ['mcp.example', 'rest.example']];
    const values = { labels: { team: 'web' }, expires_in: '1d' };
    const made = {
      rest: (await put('rest.example', { servers: [to('one')], ...values })).body,
      mcp: await suite.tool<Put>('haproxy_put_domain', {
        domain: 'mcp.example',
        servers: [to('two')],
        ...values,
      }),
    };
    const visits = async () =>
      Promise.all(names.map(async (name) => (await get(haproxy.httpPort, name)).body));
    await until(async () => isDeepStrictEqual(await visits(), ['two', 'one']), { what: 'both previews' });

    const change = { weight: 7 };
    const byRest = () =>
      rest('PUT', '/domains/rest.example/servers/1/weight', change, {
        'if-match': `"${String(made.rest['etag'])}"`,
      });
    const byMcp = { domain: 'mcp.example', slot: 1, ...change, if_match: made.mcp['etag'] };
    expect((await byRest()).status).toBe(200);
    await suite.tool('haproxy_set_server_weight', byMcp);
    expect((await byRest()).body).toMatchObject({ status: 412, code: 'revision_mismatch' });
    expect(await suite.failure('haproxy_set_server_weight', byMcp)).toBe('revision_mismatch');
    expect(await Promise.all([live(made.rest.pool), live(made.mcp.pool)])).toEqual([
      ['1 one 7 ready'],
      ['1 two 7 ready'],
    ]);
    const create = await rest('PUT', '/domains/rest.example', values, { 'if-none-match': '*' });
    expect(create.body).toMatchObject({ status: 412 });

    const listed = { items: names.map((domain) => ({ domain, labels: values.labels })), total: 2 };
    expect((await rest('GET', '/domains?label=team=web&expires_within=2d')).body).toMatchObject(listed);
    expect(
      await suite.tool('haproxy_list_domains', { label: 'team=web', expires_within: '2d' }),
    ).toMatchObject(listed);

    await expireSoon(...names);
    await until(async () => (await rest('GET', '/domains/mcp.example')).status === 404, {
      what: 'the expiry',
    });
    const unknown = await get(haproxy.httpPort, 'unknown.example');
    for (const name of names) expect((await get(haproxy.httpPort, name)).status).toBe(unknown.status);
    const { items } = (await rest<{ items: { revision: number }[] }>('GET', '/history?limit=1')).body;
    expect(items).toMatchObject([{ operation: 'haproxy_expire_scheduled', actor: 'expiry' }]);
    const expired = items[0]?.revision;
    expect(await suite.tool('haproxy_undo', { revision: expired, dry_run: true })).toMatchObject({
      dry_run: true,
      plan: expect.arrayContaining([expect.objectContaining({ name: 'mcp.example' })]) as unknown,
    });
    expect((await rest('POST', `/history/${expired}/undo`)).status).toBe(200);
    await until(async () => isDeepStrictEqual(await visits(), ['two', 'one']), { what: 'both again' });
    const back = (await rest('GET', '/domains/rest.example')).body;
    expect(back).toMatchObject({ labels: values.labels });
    expect(back).not.toHaveProperty('expires_at');
    await suite.tool('haproxy_rollback', { revision: start });
    expect((await rest('GET', '/domains?label=team')).body).toMatchObject({ total: 0 });
  });

  itOnce?.('missing_ok > a domain that is gone is 200 with removed=false, and no revision', async () => {
    await put('a.example', { servers: [to('one')] });
    expect((await rest('DELETE', '/domains/a.example?missing_ok=true&dry_run=true')).body).toMatchObject({
      removed: true,
      dry_run: true,
    });
    expect((await rest('DELETE', '/domains/a.example?missing_ok=true')).body).toMatchObject({
      removed: true,
      pool_freed: true,
      servers_removed: 1,
    });
    const before = revision();
    const gone = { domain: 'a.example', removed: false, pool_freed: false, servers_removed: 0 };
    expect(await rest('DELETE', '/domains/a.example?missing_ok=true')).toMatchObject({
      status: 200,
      body: gone,
    });
    expect(await suite.tool('haproxy_remove_domain', { domain: 'a.example', missing_ok: true })).toEqual(
      gone,
    );
    const dry = { domain: 'a.example', missing_ok: true, dry_run: true };
    expect(await suite.tool('haproxy_remove_domain', dry)).toEqual({ ...gone, dry_run: true, plan: [] });
    expect(revision()).toBe(before);
  });

  it('a rename > keeps pool, place, servers and slots, and tells what happens to the certificate', async () => {
    const { pool } = (await put('a.example', { servers: [to('one', { weight: 9 }), to('two')] })).body;
    await rest('POST', '/domains', { domain: 'b.example', share_with: 'a.example' });
    const file = join(suite.settings.folders.certs, 'a.example.pem');
    await mkdir(suite.settings.folders.certs, { recursive: true });
    const { pem } = await makeCertificate(haproxy.home, { names: ['a.example', '*.a.example'] });
    await writeFile(file, pem);
    const input = { domain: 'a.example', to: 'New.example', dry_run: true };
    const before = await everything();
    const dry = await suite.tool<Put>('haproxy_rename_domain', input);
    expect(dry.plan?.slice(0, 2).map(({ action, name }) => `${action} ${name}`)).toEqual([
      'add_domain new.example',
      'del_domain a.example',
    ]);
    expect(await everything()).toEqual(before);
    const { status, body } = await rest('POST', '/domains/a.example/rename', { to: 'new.example' });
    expect([status, body]).toMatchObject([
      200,
      {
        domain: 'new.example',
        former_name: 'a.example',
        pool,
        shared_with: ['b.example'],
        before: { domains: [{ domain: 'a.example', pool }], servers: [] },
        certificate: { former_name: [file], new_name: [] },
      },
    ]);
    expect((body['certificate'] as Json)['detail']).toMatch(
      /No certificate file has new\.example.*a\.example\.pem/s,
    );
    expect(revision()).toBe((before[0] as number) + 1);
    expect((await rest('GET', '/domains/a.example')).status).toBe(404);
    expect(short((await rest<Put>('GET', '/domains/new.example')).body.servers)).toEqual([
      '1 one 9 ready',
      '2 two 1 ready',
    ]);
    const saved = JSON.parse(await readFile(suite.settings.files.servers, 'utf8')) as {
      pools: Record<string, { domains: string[] }>;
    };
    expect(saved.pools[pool]?.domains).toEqual(['new.example', 'b.example']);
    expect(
      await suite.tool('haproxy_rename_domain', { domain: 'new.example', to: 'x.a.example' }),
    ).toMatchObject({
      certificate: { former_name: [], new_name: [file] },
    });
  });

  it('GET > answers without the certificate, and says why, if the certificate folder cannot be read', async () => {
    await put('a.example', { servers: [to('one')] });
    const folder = suite.settings.folders.certs;
    await rename(folder, `${folder}.away`);
    await writeFile(folder, 'no folder');
    const { status, body } = await rest('GET', '/domains/a.example');
    const explained = await rest('GET', '/explain?host=a.example');
    await rm(folder);
    await rename(`${folder}.away`, folder);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      servers: [{ slot: 1 }],
      certificate_problem: expect.stringMatching(
        /^The certificate folder could not be read: ENOTDIR/,
      ) as string,
    });
    expect(body).not.toHaveProperty('certificate');
    expect(explained).toMatchObject({
      status: 200,
      body: { certificate_problem: body['certificate_problem'] },
    });
  });

  it('a dry run of a new domain or server > is 200 without Location, and the change 201 with one', async () => {
    const server = { ip: '127.0.0.1', http_port: backends.two.port };
    const calls: [string, string, object, string][] = [
      ['PUT', '/domains/made.example', { servers: [server] }, '/api/v1/domains/made.example'],
      ['POST', '/domains', { domain: 'made2.example' }, '/api/v1/domains/made2.example'],
      ['POST', '/domains/made2.example/servers', server, '/api/v1/domains/made2.example/servers'],
      [
        'POST',
        '/domains/made2.example/servers/bulk',
        { servers: [{ ...server, slot: 2 }] },
        '/api/v1/domains/made2.example/servers',
      ],
    ];
    for (const [method, path, body, location] of calls) {
      const dry = await rest(method, path, { ...body, dry_run: true });
      expect([dry.status, dry.location, dry.body['dry_run']], path).toEqual([200, null, true]);
      const real = await rest(method, path, body);
      expect([real.status, real.location], path).toEqual([201, location]);
      expect((await rest('GET', location.slice('/api/v1'.length))).status).toBe(200);
    }
    // The server is there already, so nothing is created.
    const again = await rest('POST', '/domains/made2.example/servers', { ...server, slot: 1 });
    expect([again.status, again.location, again.body['revision']]).toEqual([200, null, undefined]);
  });

  it('a removed server with a running request > is named in still_open, also if its slot is used again', async () => {
    await put('a.example', { servers: [to('one')] });
    for (const [path, next] of [
      ['/held/1', [to('two'), to('three'), to('four')]],
      ['/held/2', [to('one'), to('five'), to('six')]],
    ] as const) {
      const host = 'a.example';
      const used = path === '/held/1' ? [backends.one] : [backends.two, backends.three, backends.four];
      const before = used.map((backend) => backend.count);
      const held = get(haproxy.httpPort, host, path);
      await until(() => used.some((backend, index) => backend.count > (before[index] ?? 0)));
      const { body } = await put(host, { servers: next });
      expect(body['still_open'], path).toMatchObject({
        detail: expect.stringContaining('Keep the server running') as string,
      });
      for (const backend of used) backend.release(path);
      expect((await held).status).toBe(200);
    }
  });

  it('concurrent PUTs of one domain > each is whole, and the last one stays', async () => {
    const lists = [
      [to('one'), to('two')],
      [to('three', { weight: 3 })],
      [to('four'), to('five', { weight: 0 }), to('one', { weight: 2 })],
    ];
    const before = revision();
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) => put('busy.example', { servers: lists[n % 3] })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    const changing = answers.filter(({ body }) => body.result !== 'unchanged').length;
    expect(revision()).toBe(before + changing);
    for (const [n, { status, body }] of answers.entries()) {
      expect(status).toBeLessThan(300);
      const ports = body.servers.map(({ http_port }) => http_port).toSorted((a, b) => a - b);
      expect(ports).toEqual(lists[n % 3]?.map(({ http_port }) => http_port).toSorted((a, b) => a - b));
    }
    const { pool, servers } = (await rest<Put>('GET', '/domains/busy.example')).body;
    await until(async () => (await live(pool)).join() === short(servers).join(), { what: pool });
  });

  it('no request fails while PUT replaces servers, swaps their states, and while names are renamed', async () => {
    const lists = [
      [to('one')],
      [to('two')],
      [to('one', { state: 'maint' }), to('three')],
      [to('one'), to('three', { state: 'maint' })],
      [to('one', { weight: 0 }), to('three')],
      [to('one'), to('three', { weight: 0 })],
      [to('two'), to('four'), to('five')],
      [to('one'), to('three'), to('six')],
    ];
    await put('load.example', { servers: lists[0] });
    await put('n0.example', { servers: [to('one')] });
    const load = new Load(haproxy.httpPort, [{ host: 'load.example', bodies: Object.keys(backends) }]);
    const missed: string[] = [];
    for (let n = 0; n < lists.length; n += 1) {
      const names = [`n${n}.example`, `n${n + 1}.example`] as const;
      // A name that is gone has its successor: the new entry exists before the old one goes.
      let done = false;
      const probe = async () => {
        while (!done) {
          const first = await get(haproxy.httpPort, names[0]);
          if (first.status === 200) continue;
          const second = await get(haproxy.httpPort, names[1]);
          if (second.status !== 200) missed.push(`${names.join(' ')} ${first.status} ${second.status}`);
        }
      };
      const probes = [probe(), probe()];
      const [changed, renamed] = await Promise.all([
        put('load.example', { servers: lists[(n + 1) % lists.length] }),
        rest('POST', `/domains/${names[0]}/rename`, { to: names[1] }),
      ]);
      done = true;
      await Promise.all(probes);
      expect([changed.body.result, renamed.status]).toEqual(['changed', 200]);
    }
    await until(() => load.sent > 200);
    const { failures } = await load.stop();
    expect([failures, missed]).toEqual([[], []]);
  });
});
