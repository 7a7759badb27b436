import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { type ApiDocument, operationsOf } from '../../src/cli/operations/from-document.js';
import type { CliOperation } from '../../src/cli/operations/operation.js';
import { openApiDocument } from '../../src/contract/openapi.js';
import { ensureConfig } from '../../src/haproxy/config/config-file.js';
import { loadSettings } from '../../src/settings/settings.js';
import { makeCertificate } from '../kit/certificates/certificates.js';
import { oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import type { RunningHaproxy } from '../kit/haproxy/start-haproxy.js';
import { until } from '../kit/poll.js';
import { makeHome } from '../kit/suite/suite.js';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { type Observed, observe } from '../observe/fixture.js';
import { namedToken, secretOf } from './fixture.js';

/**
 * Two suites that differ only in what is out of scope of a token: `far` has further domains, one of which shares a pool with
 * a domain in scope. Every operation gives the token the same answer in both, byte for byte. Times, ids, revisions and the
 * numbers of new pools are left out: the pool number of a new domain tells that others have pools.
 */
interface World {
  haproxy: Pick<RunningHaproxy, 'home' | 'httpPort' | 'stop'>;
  suite: Observed;
  url: string;
  clients: Map<string, Client>;
}

type Arguments = Record<string, unknown>;
const SCOPE = { domains: ['*.preview.test'], servers: ['127.0.0.0/8'] };
const TOKENS = [
  namedToken('reads', 'read', SCOPE),
  namedToken('operates', 'operate', SCOPE),
  namedToken('administers', 'admin', SCOPE),
  namedToken('few', 'operate', { ...SCOPE, max_domains: 5, max_certificates: 1, backends: ['be_web'] }),
  namedToken('web', 'operate', { ...SCOPE, backends: ['be_web'] }),
  namedToken('far-servers', 'operate', { domains: ['*.preview.test'] }),
  namedToken('backends', 'operate', { backends: ['be_web'] }),
];

let worlds: [World, World];
let backend: Backend;
let operations: CliOperation[];

async function startWorld(files: readonly [string, string][]): Promise<World> {
  const home = await makeHome(oldestHaproxy(), { HAPROXY_POOL_COUNT: '9' });
  await ensureConfig(loadSettings(home.env));
  await appendFile(home.file('haproxy.cfg'), '\nbackend be_web from pools\n    server s 127.0.0.1:9\n');
  await writeFile(join(home.path, 'conf/tokens.json'), JSON.stringify({ tokens: TOKENS }), { mode: 0o600 });
  for (const [name, text] of files) await writeFile(join(home.path, 'certs', name), text, { mode: 0o600 });
  const { MCP_PORT: _, ...env } = home.env;
  const haproxy = {
    home: home.path,
    httpPort: home.httpPort,
    binary: oldestHaproxy().path,
    socket: join(home.path, 'run/haproxy.sock'),
    stop: () => home.remove(),
  };
  const suite = await observe(haproxy, env);
  await suite.untilReady();
  const url = `http://127.0.0.1:${suite.settings.api.port}`;
  const clients = new Map<string, Client>();
  for (const name of ['reads', 'operates']) {
    const client = new Client({ name: 'test', version: '1' });
    const requestInit = { headers: { authorization: `Bearer ${secretOf(name)}` } };
    await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }));
    clients.set(name, client);
  }
  return { haproxy, suite, url, clients };
}

async function add(world: World, body: object): Promise<void> {
  const { status } = await world.suite.api('POST', '/domains', body);
  expect(status, JSON.stringify(body)).toBe(201);
}

beforeAll(async () => {
  backend = await startBackend('one');
  const folder = await mkdtemp(join(tmpdir(), 'suite-worlds-'));
  const pem = async (...names: string[]) => (await makeCertificate(folder, { names })).pem;
  const near: [string, string][] = [['a.preview.test.pem', await pem('a.preview.test')]];
  const others: [string, string][] = [
    ['preview.test.pem', await pem('preview.test', '*.preview.test')],
    ['x.preview.test.pem', await pem('x.preview.test', 'main.test')],
  ];
  await rm(folder, { recursive: true });
  worlds = [await startWorld(near), await startWorld([...near, ...others])];
  const server = { ip: '127.0.0.1', http_port: backend.port };
  for (const world of worlds) {
    await add(world, { domain: 'a.preview.test', ...server, labels: { team: 'web' } });
    await add(world, { domain: 'b.preview.test', share_with: 'a.preview.test', expires_in: '7d' });
    await add(world, { domain: 'm.preview.test', ...server, labels: { team: 'web' } });
    await add(world, { domain: 'x.preview.test' });
  }
  const [other, far] = worlds;
  // As many revisions as in the other world.
  for (const domain of ['n1.test', 'n2.test', 'n3.test']) {
    await add(other, { domain });
    await other.suite.api('DELETE', `/domains/${domain}`);
  }
  await add(far, {
    domain: 'main.test',
    share_with: 'm.preview.test',
    labels: { team: 'web' },
    expires_in: '1d',
  });
  await add(far, { domain: 'other.test', ip: '127.0.0.9', http_port: 9 });
  await add(far, { domain: '*.preview.test', ip: '127.0.0.9', http_port: 9 });
  await add(far, { domain: 'preview.test', backend: 'be_web' });
  // Its options hold for x.preview.test too, and its owner may not know.
  const closed = {
    deny: ['127.0.0.0/8'],
    maintenance: { page: 'closed' },
    rate_limit: { requests: 1, window_seconds: 60 },
  };
  expect((await far.suite.api('PUT', '/domains/*.preview.test/site', { site: closed })).status).toBe(200);
  // With a redirect of t.preview.test to this one, both redirect in a circle.
  await add(far, { domain: 'circle.test', site: { redirect: { to: 'https://t.preview.test' } } });
  for (const { suite } of worlds)
    await until(async () => {
      const { body } = await suite.api('GET', '/domains/a.preview.test/health');
      return body['status'] === 'healthy';
    });
  operations = operationsOf(openApiDocument(far.suite.app, '0') as unknown as ApiDocument);
});
afterAll(async () => {
  for (const world of worlds ?? []) {
    for (const client of world.clients.values()) await client.close();
    await world.suite.close();
    await world.haproxy.stop();
  }
  await backend?.close();
});

const OUTSIDE = ['other.test', 'main.test', '*.preview.test', 'preview.test', 'nothing.test'] as const;
const about = (more: Arguments = {}, inside = ['a.preview.test', 'm.preview.test']): Arguments[] =>
  [...inside, ...OUTSIDE].map((domain) => ({ domain, ...more }));
const NEW = { ip: '127.0.0.2', http_port: 9 };

/** The calls of each operation, in an order that works. An operation that is not here fails the test. */
const CALLS: Record<string, Arguments[]> = {
  haproxy_list_domains: [
    {},
    { include_wildcards: true },
    { limit: 1 },
    { search: 'test' },
    { label: 'team=web' },
    { expires_within: '30d' },
    ...['pool_2', 'pool_4', 'pool_5', 'be_web'].map((pool) => ({ pool })),
  ],
  haproxy_get_domain: about(),
  haproxy_add_domain: [
    { domain: 'new.preview.test', ...NEW },
    { domain: 'new.preview.test', ...NEW },
    { domain: 'dry.preview.test', ...NEW, dry_run: true },
    ...OUTSIDE.map((domain) => ({ domain, ...NEW })),
    ...OUTSIDE.map((share_with) => ({ domain: 's.preview.test', share_with })),
    { domain: 's.preview.test', share_with: 'a.preview.test' },
    { domain: 'e.preview.test', backend: 'be_web' },
    { domain: 'e.preview.test', backend: 'be_web' },
    { domain: 'e.preview.test', backend: 'be_nothing' },
    { domain: '*.w.preview.test', ...NEW },
    { domain: '169.254.169.254', ...NEW },
    { domain: 'e.preview.test', ip: '169.254.169.254' },
  ],
  haproxy_put_domain: [
    { domain: 's.preview.test', labels: { a: 'b' } },
    { domain: 'new.preview.test', servers: [NEW, { ip: '127.0.0.3', http_port: 9 }] },
    { domain: 'new.preview.test', servers: [NEW], dry_run: true },
    ...OUTSIDE.map((domain) => ({ domain, ...NEW })),
    ...OUTSIDE.map((share_with) => ({ domain: 's.preview.test', share_with })),
    { domain: 's.preview.test', backend: 'be_web' },
  ],
  haproxy_rename_domain: [
    { domain: 's.preview.test', to: 't.preview.test' },
    { domain: 't.preview.test', to: 'a.preview.test' },
    ...OUTSIDE.map((to) => ({ domain: 't.preview.test', to })),
    ...OUTSIDE.map((domain) => ({ domain, to: 'u.preview.test' })),
  ],
  haproxy_set_site: [
    ...about({ site: { noindex: true } }, ['t.preview.test']),
    { domain: 't.preview.test', site: { deny: ['192.0.2.0/24'] }, dry_run: true },
    { domain: 't.preview.test', site: { redirect: { to: 'https://circle.test' } } },
    { domain: 't.preview.test', site: {} },
    { domain: 'gone.preview.test', site: {} },
  ],
  haproxy_set_pool_options: about({ options: { retries: 2 } }),
  haproxy_import_haproxy: [{ files: [{ path: 'haproxy.cfg', text: 'frontend web\n  bind :80\n' }] }],
  haproxy_list_servers: about(),
  haproxy_add_server: about(NEW, ['new.preview.test', 'a.preview.test']),
  haproxy_add_servers: about({ servers: [{ ip: '127.0.0.4', http_port: 9 }] }, ['new.preview.test']),
  haproxy_set_server_state: about({ slot: 1, state: 'drain' }, ['new.preview.test']),
  haproxy_set_server_weight: about({ slot: 1, weight: 9 }, ['new.preview.test']),
  haproxy_set_domain_state: about({ state: 'maint' }, ['new.preview.test']),
  haproxy_wait_drain: about({ slot: 0, timeout: 1 }, ['new.preview.test']),
  haproxy_remove_server: about({ slot: 2 }, ['new.preview.test']),
  haproxy_domain_health: about({}, ['a.preview.test', 'm.preview.test', 'under.preview.test']),
  haproxy_wait_healthy: about({ timeout: 1 }),
  haproxy_get_server_health: [{}, { status: 'UP' }, { ip: '127.0.0.9' }, { limit: 1 }, ...about()],
  haproxy_replace_server: [
    { from: '127.0.0.9', to: '127.0.0.8', dry_run: true },
    { from: '127.0.0.9', to: '127.0.0.8', timeout: 1 },
  ],
  haproxy_explain: [
    { host: 'x.preview.test' },
    { host: 'a.preview.test' },
    { host: 'under.preview.test' },
    ...OUTSIDE.map((host) => ({ host: host.replace('*', 'x') })),
  ],
  haproxy_health: [{}],
  haproxy_stats: [{}, { scope: 'server' }, ...about()],
  haproxy_backends: [{}, { in_use: true }, { in_use: false }],
  haproxy_list_frontends: [{}],
  haproxy_get_connections: [{}, ...about()],
  haproxy_history: [
    {},
    { limit: 2 },
    { actor: 'admin' },
    ...about(),
    ...[1, 5, 6, 7].map((revision) => ({ revision })),
  ],
  haproxy_get_revision: [1, 5, 6, 7].map((revision) => ({ revision })),
  haproxy_undo: [
    { revision: 4, dry_run: true },
    { revision: 5 },
    { revision: 6, dry_run: true },
    { revision: 1 },
    { revision: 999 },
  ],
  haproxy_rollback: [{ revision: 1 }, { revision: 1, dry_run: true }],
  haproxy_audit: [{}, { limit: 2 }, { actor: 'admin' }, ...about()],
  haproxy_list_operations: [{}, { status: 'running' }],
  haproxy_get_operation: [{ id: '00000000-0000-4000-8000-000000000000' }],
  haproxy_check_config: [{}],
  haproxy_reload: [{}],
  haproxy_save_state: [{ dry_run: true }, {}],
  haproxy_restore_state: [{ dry_run: true }, {}],
  haproxy_list_certs: [{}, { expires_within: 30 }],
  haproxy_cert_info: about({}, ['a.preview.test', 'x.preview.test', 'm.preview.test']),
  haproxy_issue_cert: about({ dry_run: true }),
  haproxy_renew_cert: about({ dry_run: true }),
  haproxy_renew_all_certs: [{ dry_run: true }],
  haproxy_delete_cert: about({ dry_run: true }),
  haproxy_load_cert: about({ dry_run: true }),
  haproxy_list_tokens: [{}],
  haproxy_add_token: [{ name: 'more', role: 'read' }],
  haproxy_revoke_token: [{ name: 'reads' }],
  haproxy_export: [{}, { format: 'json' }],
  haproxy_import: [{ mode: 'merge', dry_run: true, lines: [{ domain: 'i.preview.test', servers: [NEW] }] }],
  haproxy_remove_domain: [
    { domain: 't.preview.test' },
    { domain: 'new.preview.test' },
    { domain: 'e.preview.test', missing_ok: true },
    ...about({ missing_ok: true }, ['gone.preview.test']),
    ...about({}, ['gone.preview.test']),
  ],
};

/** What may differ: what depends on the place and the time, and the counters that all callers share. */
function normalised(text: string, { haproxy, suite }: World): string {
  return text
    .replaceAll(haproxy.home, 'HOME')
    .replaceAll(String(suite.settings.api.port), 'API')
    .replaceAll(String(haproxy.httpPort), 'HTTP')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID')
    .replaceAll(
      /(\\?"(?:revision|revision_before|revision_after|seq|next_cursor|undoes|target|uptime_seconds|downtime_seconds|pid|waited_ms|connections|last_check|etag)\\?":)(?:\\?"[^"\\]*\\?"|\d+)/g,
      '$1 0',
    )
    .replaceAll(/\(pid \d+\), up for [^.]*\./g, '(pid N)')
    .replaceAll(/(revision|Revision|The last one is) \d+/g, '$1 N')
    .replaceAll(/pool_(?!1\b|2\b|3\b)\d+/g, 'pool_N')
    .replaceAll(/domains-\d+\./g, 'domains-N.');
}

async function rest(world: World, token: string, operation: CliOperation, args: Arguments): Promise<string> {
  const { lines, ...given } = args;
  let path = operation.path;
  const query = new URLSearchParams();
  const body: Arguments = {};
  for (const [name, value] of Object.entries(given)) {
    const where = operation.fields.find((field) => field.name === name)?.in;
    if (where === 'path') path = path.replace(`{${name}}`, encodeURIComponent(String(value)));
    else if (where === 'query' || name === 'dry_run') query.set(name, String(value));
    else body[name] = value;
  }
  const sends =
    lines ?? (['POST', 'PUT'].includes(operation.method) && Object.keys(body).length > 0 ? body : undefined);
  const response = await fetch(`${world.url}${path}?${query.toString()}`, {
    method: operation.method,
    headers: {
      authorization: `Bearer ${secretOf(token)}`,
      ...(sends !== undefined && { 'content-type': 'application/json' }),
    },
    ...(sends !== undefined && { body: JSON.stringify(sends) }),
  });
  return `${response.status} ${normalised(await response.text(), world)}`;
}

async function tool(world: World, token: string, name: string, args: Arguments): Promise<string> {
  const result = await world.clients.get(token)?.callTool({ name, arguments: args });
  return normalised(JSON.stringify(result), world);
}

/** Names that only `far` has. */
const FOREIGN = /other\.test|main\.test|"\*\.preview\.test"|"preview\.test"|127\.0\.0\.9|be_web/;
/** The same for a token that may use the backend. */
const FOREIGN_TO_WEB = /other\.test|main\.test|"\*\.preview\.test"|"preview\.test"|127\.0\.0\.9/;

describe('a token with domains gets the same answers, whatever there is out of its scope', () => {
  it('has calls for every operation', () => {
    expect(Object.keys(CALLS).toSorted()).toEqual(operations.map((one) => one.tool).toSorted());
  });

  it.each(['reads', 'operates', 'web'])('%s: over REST and MCP', async (token) => {
    const refused: string[] = [];
    const { tools = [] } = (await worlds[1].clients.get(token)?.listTools()) ?? {};
    const listed = new Set(tools.map(({ name }) => name));
    for (const [name, calls] of Object.entries(CALLS)) {
      const operation = operations.find((one) => one.tool === name);
      if (!operation) throw new Error(`no operation ${name}`);
      const statuses = new Set<string>();
      for (const args of calls) {
        const [near, far] = await Promise.all(worlds.map((world) => rest(world, token, operation, args)));
        const call = `${token}: ${operation.method} ${operation.path} ${JSON.stringify(args)}`;
        expect.soft(far, call).toBe(near);
        // These HAProxies have no TLS bind.
        if (far?.includes('no bind of HAProxy reads certificates') !== true)
          expect.soft(far, call).not.toMatch(/^5/);
        // What the caller itself has named may be in the answer.
        if (name !== 'haproxy_audit' && !FOREIGN.test(JSON.stringify(args)))
          expect.soft(far, call).not.toMatch(token === 'web' ? FOREIGN_TO_WEB : FOREIGN);
        statuses.add(far?.slice(0, 3) ?? '');
      }
      if (statuses.size === 1 && statuses.has('403')) refused.push(name);
      if (!listed.has(name) || token !== 'reads') continue;
      for (const args of calls) {
        const [near, far] = await Promise.all(worlds.map((world) => tool(world, token, name, args)));
        expect.soft(far, `${token}: ${name} ${JSON.stringify(args)}`).toBe(near);
      }
    }
    expect(refused.filter((name) => listed.has(name))).toEqual([]);
    if (token === 'operates') expect(refused.toSorted()).toEqual(ABOUT_ALL.toSorted());
  });
});

/** What no token with domains may use. */
const ABOUT_ALL = [
  'haproxy_add_token',
  'haproxy_check_config',
  'haproxy_list_frontends',
  'haproxy_list_tokens',
  'haproxy_reload',
  'haproxy_renew_all_certs',
  'haproxy_replace_server',
  'haproxy_restore_state',
  'haproxy_revoke_token',
  'haproxy_rollback',
  'haproxy_save_state',
  'haproxy_set_pool_options',
];

describe('a token with domains', () => {
  interface Answer {
    status: number;
    body: Record<string, unknown>;
  }
  const call = async (token: string, method: string, path: string, body?: object): Promise<Answer> => {
    const response = await fetch(`${worlds[1].url}${path.startsWith('/metrics') ? '' : '/api/v1'}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${secretOf(token)}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text.startsWith('{') ? (JSON.parse(text) as Answer['body']) : { text },
    };
  };
  const everything = async () => (await worlds[1].suite.text('/api/v1/export')).text;

  it.each<[string, string, object?]>([
    ['DELETE', '/domains/other.test'],
    ['DELETE', '/domains/m.preview.test'],
    ['DELETE', '/domains/nothing.test?missing_ok=true'],
    ['PUT', '/domains/m.preview.test', { labels: {} }],
    ['PUT', '/domains/m.preview.test?dry_run=true', { servers: [] }],
    ['PUT', '/domains/m.preview.test/state', { state: 'maint' }],
    ['POST', '/domains/m.preview.test/servers', NEW],
    ['POST', '/domains', { domain: 'n.preview.test', share_with: 'm.preview.test' }],
    ['POST', '/domains', { domain: 'n.preview.test', share_with: 'other.test' }],
    ['POST', '/domains', { domain: 'preview.test' }],
    ['POST', '/domains', { domain: '*.preview.test' }],
    ['POST', '/domains', { domain: 'm.preview.test', ...NEW }],
    ['POST', '/domains/a.preview.test/rename', { to: 'a.test' }],
    ['POST', '/domains/other.test/rename', { to: 'n.preview.test' }],
    ['POST', '/history/5/undo?dry_run=true'],
    ['POST', '/history/6/undo'],
    ['POST', '/history/rollback', { revision: 1 }],
    ['POST', '/import?mode=replace', [{ domain: 'a.preview.test', servers: [NEW] }]],
    [
      'POST',
      '/import?mode=put',
      [
        { domain: 'n.preview.test', servers: [NEW] },
        { domain: 'other.test', absent: true },
      ],
    ],
    [
      'POST',
      '/import',
      [
        { domain: 'n.preview.test', servers: [NEW] },
        { domain: 'n.test', servers: [NEW] },
      ],
    ],
    ['POST', '/import', [{ domain: 'n.preview.test', share_with: 'm.preview.test' }]],
    ['POST', '/import', [{ domain: 'n.preview.test', backend: 'be_web' }]],
    ['POST', '/servers/replace', { from: '127.0.0.9', to: '127.0.0.8' }],
    ['POST', '/certificates', { domain: 'preview.test', dry_run: true }],
    ['POST', '/certificates', { domain: 'a.preview.test', wildcard: true, dry_run: true }],
    ['DELETE', '/certificates/x.preview.test?dry_run=true'],
    ['DELETE', '/certificates/preview.test'],
    ['POST', '/configuration/reload'],
    ['GET', '/metrics'],
    ['GET', '/frontends'],
    ['GET', '/tokens'],
  ])(
    'is refused %s %s %j, with a text that names nothing, and changes nothing',
    async (method, path, body) => {
      const before = await everything();
      const { status, body: answer } = await call('operates', method, path, body);
      expect([status, answer['code']], JSON.stringify(answer)).toEqual([403, 'forbidden']);
      const named = JSON.stringify([path, body ?? {}]);
      for (const other of ['main.test', 'other.test', '127.0.0.9', 'pool_'])
        if (!named.includes(other)) expect(JSON.stringify(answer)).not.toContain(other);
      expect(await everything()).toBe(before);
    },
  );

  it('imports the lines in scope if the others are skipped', async () => {
    const lines = [
      { domain: 'i.preview.test', servers: [NEW] },
      { domain: 'i.test', servers: [NEW] },
      { domain: 'main.test', servers: [NEW] },
    ];
    const { status, body } = await call('operates', 'POST', '/import?on_error=skip', lines);
    expect([status, body['skipped_count']]).toEqual([200, 2]);
    expect((await call('operates', 'DELETE', '/domains/i.preview.test')).status).toBe(200);
  });

  it('uses only servers and backends that it may, and has at most so many domains', async () => {
    const add = (token: string, more: object) =>
      call(token, 'POST', '/domains', { domain: 'l.preview.test', ...more });
    for (const ip of ['127.0.0.1', '169.254.169.254', '::1', '64:ff9b::7f00:1'])
      expect((await add('far-servers', { ip })).body['code'], ip).toBe('forbidden');
    expect((await add('operates', { ip: '10.0.0.1' })).body['detail']).toContain('127.0.0.0/8');
    // The servers of the pool are loopback addresses that an administrator has added.
    expect((await add('far-servers', { share_with: 'a.preview.test' })).status).toBe(403);
    expect((await add('operates', { backend: 'be_web' })).status).toBe(403);
    expect((await add('few', { backend: 'be_web' })).status).toBe(201);
    const second = await call('few', 'POST', '/domains', { domain: 'k.preview.test', ...NEW });
    expect([second.status, second.body['detail']]).toEqual([
      403,
      expect.stringContaining('at most 5') as unknown,
    ]);
    expect((await call('few', 'DELETE', '/domains/l.preview.test')).status).toBe(200);
    const anywhere = await call('backends', 'POST', '/domains', { domain: 'any.test', backend: 'be_web' });
    expect(anywhere.status).toBe(201);
    expect((await call('backends', 'DELETE', '/domains/any.test')).status).toBe(200);
  });

  it('has a domain on a backend of others with one ETag, which its changes accept', async () => {
    const etags = await Promise.all(
      worlds.map(async ({ url }) => {
        const send = (method: string, path: string, body?: object, more: Record<string, string> = {}) =>
          fetch(`${url}/api/v1/domains${path}`, {
            method,
            headers: {
              authorization: `Bearer ${secretOf('web')}`,
              ...(body && { 'content-type': 'application/json' }),
              ...more,
            },
            ...(body && { body: JSON.stringify(body) }),
          });
        const added = await send('POST', '', { domain: 'w.preview.test', backend: 'be_web' });
        const etag = (await send('GET', '/w.preview.test')).headers.get('etag') ?? '';
        expect(added.headers.get('etag')).toBe(etag);
        const put = { labels: { a: 'b' } };
        const stale = await send('PUT', '/w.preview.test', put, { 'if-match': '"stale"' });
        expect([stale.status, await stale.text()]).toEqual([412, expect.stringContaining(etag.slice(1, -1))]);
        const changed = await send('PUT', '/w.preview.test', put, { 'if-match': etag });
        const changedEtag = changed.headers.get('etag');
        expect([changed.status, changedEtag]).toEqual([
          200,
          (await send('GET', '/w.preview.test')).headers.get('etag'),
        ]);
        expect((await send('DELETE', '/w.preview.test')).status).toBe(200);
        return [etag, changedEtag];
      }),
    );
    expect(etags[1]).toEqual(etags[0]);
  });

  it('changes a certificate only if all names of the old and the new one are in scope', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'suite-worlds-'));
    const load = async (token: string, domain: string, ...names: string[]) => {
      const { pem } = await makeCertificate(folder, { names });
      return call(token, 'POST', `/certificates/${domain}/load`, { pem });
    };
    const refused = [
      await load('operates', 'a.preview.test', 'a.preview.test', 'main.test'),
      await load('operates', 'a.preview.test', 'a.preview.test', '*.preview.test'),
      await load('operates', 'x.preview.test', 'x.preview.test'),
      await load('few', 'k.preview.test', 'k.preview.test'),
    ];
    const allowed = await load('few', 'a.preview.test', 'a.preview.test');
    await rm(folder, { recursive: true });
    expect(refused.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
    expect(refused[3]?.body['detail']).toContain('at most 1 certificate(s)');
    expect(allowed.body['detail']).toContain('no bind of HAProxy reads certificates');
  });

  it('undoes its own change, and sees its own operations only', async () => {
    const put = await call('operates', 'PUT', '/domains/x.preview.test', { labels: { own: 'yes' } });
    const undone = await call('operates', 'POST', `/history/${String(put.body['revision'])}/undo`);
    expect(undone.status, JSON.stringify(undone.body)).toBe(200);
    const lines = [{ domain: 'x.preview.test', servers: [] }];
    const { status, body } = await call('operates', 'POST', '/import?wait=false', lines);
    expect(status).toBe(202);
    const { id } = body['operation'] as { id: string };
    const path = `/operations/${id}`;
    expect((await call('operates', 'GET', path)).status).toBe(200);
    expect((await worlds[1].suite.api('GET', path)).status).toBe(200);
    const other = await call('few', 'GET', path);
    const missing = await call('few', 'GET', '/operations/00000000-0000-4000-8000-000000000000');
    const without = ({ body: answer }: Answer, text: string) =>
      JSON.stringify({ ...answer, request_id: '', instance: '' }).replaceAll(text, 'ID');
    expect(without(other, id)).toBe(without(missing, '00000000-0000-4000-8000-000000000000'));
    const ids = async (token: string) =>
      ((await call(token, 'GET', '/operations')).body['items'] as { id: string }[]).map((one) => one.id);
    expect(await ids('operates')).toContain(id);
    expect(await ids('few')).toEqual([]);
  });

  it('undoes its own change if others have the freed pool or the backend now', async () => {
    const undo = async ({ status, body }: Answer) => {
      expect([200, 201], JSON.stringify(body)).toContain(status);
      return call('web', 'POST', `/history/${String(body['revision'])}/undo`);
    };
    expect((await call('web', 'POST', '/domains', { domain: 'r.preview.test', ...NEW })).status).toBe(201);
    const removed = await call('web', 'DELETE', '/domains/r.preview.test');
    await add(worlds[1], { domain: 'taken.test', ip: '127.0.0.9', http_port: 9 });
    const taken = await worlds[1].suite.api('GET', '/domains/taken.test');
    expect(taken.body['pool']).toBe(removed.body['pool']);
    const back = await undo(removed);
    expect(back.status, JSON.stringify(back.body)).toBe(200);
    expect(JSON.stringify(back.body)).not.toMatch(/taken\.test|127\.0\.0\.9/);
    expect(await worlds[1].suite.api('GET', '/domains/taken.test')).toMatchObject({
      body: { pool: removed.body['pool'], shared_count: 0 },
    });
    const moved = await call('web', 'PUT', '/domains/r.preview.test', { backend: 'be_web' });
    const undone = await undo(moved);
    expect(undone.status, JSON.stringify(undone.body)).toBe(200);
    expect(JSON.stringify(undone.body)).not.toContain('"preview.test"');
    // The first domain of the backend, which others get before the undo.
    await worlds[1].suite.api('DELETE', '/domains/preview.test');
    const first = await call('web', 'POST', '/domains', { domain: 'f.preview.test', backend: 'be_web' });
    await add(worlds[1], { domain: 'preview.test', backend: 'be_web' });
    expect((await undo(first)).status).toBe(200);
    expect(await worlds[1].suite.api('GET', '/domains/preview.test')).toMatchObject({
      body: { external: true, shared_count: 0 },
    });
    expect((await call('web', 'DELETE', '/domains/r.preview.test')).status).toBe(200);
    await worlds[1].suite.api('DELETE', '/domains/taken.test');
  });

  it('sees no audit line with servers of others, such as that of an import for several', async () => {
    const imports = (...servers: object[]) =>
      worlds[1].suite.api('POST', '/import?mode=put', [
        { domain: 'x.preview.test', labels: { of: `import-${servers.length}` } },
        { domain: 'other.test', servers },
      ]);
    const other = { ip: '127.0.0.9', http_port: 9 };
    for (const servers of [[other, { ip: '127.0.0.8', http_port: 9 }], [other]])
      expect((await imports(...servers)).status).toBe(200);
    const lines = await worlds[1].suite.api('GET', '/audit?operation=haproxy_import&limit=1');
    expect(JSON.stringify(lines.body)).toContain('127.0.0.8');
    const seen = await call('operates', 'GET', '/audit?operation=haproxy_import');
    expect(seen.status).toBe(200);
    expect(JSON.stringify(seen.body)).not.toContain('127.0.0.8');
  });

  it('is offered only what it may use, completes names in scope, and is told only of their changes', async () => {
    const client = worlds[1].clients.get('operates');
    if (!client) throw new Error('no client');
    const { resources } = await client.listResources();
    expect(resources.map(({ uri }) => uri).toSorted()).toEqual(['haproxy://certificates', 'haproxy://state']);
    const ref = { type: 'ref/resource', uri: 'haproxy://domains/{domain}' } as const;
    const { completion } = await client.complete({ ref, argument: { name: 'domain', value: 'm' } });
    expect(completion.values).toContain('m.preview.test');
    expect(completion.values.join()).not.toMatch(FOREIGN);
    await client.subscribeResource({ uri: 'haproxy://domains/a.preview.test' });
    for (const uri of [
      'haproxy://state',
      'haproxy://domains/other.test',
      'haproxy://domains/nothing.test',
      'haproxy://certificates',
    ])
      await expect(client.subscribeResource({ uri }), uri).rejects.toThrow(/sends no notifications about/);
    await expect(client.readResource({ uri: 'haproxy://config' })).rejects.toThrow(/There is no resource/);
    expect(JSON.stringify(await client.readResource({ uri: 'haproxy://state' }))).not.toMatch(FOREIGN);
    await expect(client.readResource({ uri: 'haproxy://domains/other.test' })).rejects.toThrow(/There is no/);
  });
});
