import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { makeDatedCertificate } from '../kit/certificates/certificates.js';
import { oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { get } from '../kit/traffic/request.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';

const READER = 'reader-token-0123456789';
const DAY_MS = 24 * 3600 * 1000;

let home: Home;
let suite: Suite;
let one: Backend;
let two: Backend;
let client: Client;
/** The calls of the current test. */
let calls = 0;

async function connect(token: string): Promise<Client> {
  const connected = new Client({ name: 'task', version: '1' });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await connected.connect(new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), { requestInit }));
  return connected;
}

/** One call of a task. It must succeed. */
async function call(
  name: string,
  given: Record<string, unknown>,
  by = client,
): Promise<Record<string, unknown>> {
  calls += 1;
  const result = (await by.callTool({ name: `haproxy_${name}`, arguments: given })) as CallToolResult;
  expect(result.isError, JSON.stringify(result.content)).not.toBe(true);
  return result.structuredContent ?? {};
}

beforeAll(async () => {
  [one, two] = [await startBackend('one'), await startBackend('two')];
  home = await makeHome(oldestHaproxy(), { ACME_SH: '/nowhere/acme.sh' });
  const certs = join(home.path, 'certs');
  await mkdir(certs, { recursive: true });
  for (const [name, days] of [
    ['late.example', 80],
    ['soon.example', 20],
    ['first.example', 5],
  ] as const) {
    const to = new Date(Date.now() + days * DAY_MS + DAY_MS / 2);
    const { pem } = await makeDatedCertificate(home.path, name, new Date(Date.now() - DAY_MS), to);
    await writeFile(join(certs, `${name}.pem`), pem);
  }
  suite = await Suite.start(home);
  await suite.stop();
  await appendFile(home.file('mcp-token.env'), `MCP_READONLY_TOKEN=${READER}\n`);
  suite = await Suite.start(home);
  for (const domain of ['shop.example', 'down.example'])
    await suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: one.port });
  await suite.api('POST', '/domains/shop.example/wait-healthy', {});
  await suite.api('PUT', '/domains/down.example/servers/1/state', { state: 'maint' });
  client = await connect(await suite.token());
});
beforeEach(() => {
  calls = 0;
});
afterAll(async () => {
  await client?.close();
  await suite?.stop();
  await one?.close();
  await two?.close();
  await home?.remove();
});

describe('tasks over MCP', () => {
  it('two servers, 80 to 20, behind a new name: 1 call', async () => {
    const servers = [
      { ip: '127.0.0.1', http_port: one.port, weight: 80 },
      { ip: '127.0.0.1', http_port: two.port, weight: 20 },
    ];
    await call('put_domain', { domain: 'split.example', servers });
    expect(calls).toBe(1);
    const { items } = (await suite.api<{ items: object[] }>('GET', '/domains/split.example/servers')).body;
    expect(items).toMatchObject(servers);
    expect(await get(home.httpPort, 'split.example')).toMatchObject({ status: 200 });
    await suite.api('DELETE', '/domains/split.example');
  });

  it('take a server out of service and back: 4 calls', async () => {
    const server = { domain: 'shop.example', slot: 1 };
    await call('set_server_state', { ...server, state: 'drain' });
    expect(await call('wait_drain', server)).toMatchObject({ drained: true });
    await call('set_server_state', { ...server, state: 'maint' });
    await call('set_server_state', { ...server, state: 'ready' });
    expect(calls).toBe(4);
  });

  it('why is a host down: at most 2 calls', async () => {
    const explained = await call('explain', { host: 'down.example' });
    expect(JSON.stringify(explained)).toContain('MAINT');
    const { status, servers } = await call('domain_health', { domain: 'down.example' });
    expect(status).toBe('down');
    expect(servers).toMatchObject([{ state: 'maint', status: 'MAINT' }]);
    expect(calls).toBe(2);
  });

  it('rename a domain: 1 call', async () => {
    await suite.api('POST', '/domains', { domain: 'before.example', ip: '127.0.0.1', http_port: one.port });
    await call('rename_domain', { domain: 'before.example', to: 'after.example' });
    expect(calls).toBe(1);
    expect(await get(home.httpPort, 'after.example')).toMatchObject({ status: 200, body: 'one' });
    await suite.api('DELETE', '/domains/after.example');
  });

  it('move everything from one address to another: 1 call, with progress', async () => {
    const messages: (string | undefined)[] = [];
    calls += 1;
    const { structuredContent } = await client.callTool(
      {
        name: 'haproxy_replace_server',
        arguments: { from: `127.0.0.1:${one.port}`, to: `127.0.0.1:${two.port}` },
      },
      undefined,
      { onprogress: ({ message }) => void messages.push(message), resetTimeoutOnProgress: true },
    );
    expect(structuredContent).toMatchObject({ status: 'replaced' });
    expect(messages.join('\n')).toMatch(/healthy in 1 of 1 pool\(s\)/);
    expect(calls).toBe(1);
    expect(await get(home.httpPort, 'shop.example')).toMatchObject({ status: 200, body: 'two' });
  });

  it('which certificates expire within 30 days: 1 call, the first to expire first', async () => {
    const { items, total } = await call('list_certs', { expires_within: 30 });
    expect(items).toMatchObject([
      { domain: 'first.example', days_left: 5 },
      { domain: 'soon.example', days_left: 20 },
    ]);
    expect(total).toBe(2);
    expect(calls).toBe(1);
  });

  it.each([
    ['add_domain', { domain: 'new.example', ip: '127.0.0.9' }],
    ['remove_domain', { domain: 'shop.example' }],
    ['set_server_weight', { domain: 'shop.example', slot: 1, weight: 5 }],
    ['put_domain', { domain: 'shop.example', servers: [{ ip: '127.0.0.9', weight: 5 }] }],
    ['rename_domain', { domain: 'shop.example', to: 'store.example' }],
  ])('what would %s change: 1 call', async (name, given) => {
    expect(await call(name, { ...given, dry_run: true })).toMatchObject({
      dry_run: true,
      plan: expect.arrayContaining([expect.objectContaining({ target: 'haproxy' })]) as unknown,
    });
    expect(calls).toBe(1);
  });

  it('who changed a domain last: 1 call, with the read-only token too', async () => {
    await suite.api('PUT', '/domains/shop.example/servers/1/weight', { weight: 9 });
    const reader = await connect(READER);
    const last = { domain: 'shop.example', limit: 1 };
    const { items } = await call('audit', last, reader);
    await reader.close();
    expect(items).toMatchObject([
      { actor: 'admin', via: 'rest', operation: 'haproxy_set_server_weight', outcome: 'ok' },
    ]);
    expect(calls).toBe(1);
  });
});

describe('filters', () => {
  const list = (path: string) =>
    suite.api<{ items: Record<string, unknown>[]; total: number; next_cursor: string | null }>('GET', path);

  it('the audit log is filtered by domain, actor, operation and time, in pages from the end', async () => {
    const all = (await list('/audit?limit=1000')).body;
    const forbidden = await fetch(`${suite.url}/api/v1/domains/shop.example`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${READER}` },
    });
    expect(forbidden.status).toBe(403);
    expect((await list('/audit?actor=readonly')).body).toMatchObject({
      items: [{ outcome: 'forbidden', operation: 'haproxy_remove_domain' }],
      total: 1,
    });
    const added = (await list('/audit?operation=haproxy_add_domain&limit=1')).body;
    expect(added.items).toMatchObject([{ operation: 'haproxy_add_domain' }]);
    expect(added.total).toBe(all.items.filter(({ operation }) => operation === 'haproxy_add_domain').length);
    const next = (await list(`/audit?operation=haproxy_add_domain&limit=1&cursor=${added.next_cursor}`)).body;
    expect(next.total).toBe(added.total);
    expect(Number(next.items[0]?.['seq'])).toBeLessThan(Number(added.items[0]?.['seq']));
    const moved = (await list('/audit?domain=shop.example&operation=haproxy_replace_server')).body;
    expect(moved.items.length).toBeGreaterThan(0);
    expect((await list('/audit?domain=none.example')).body).toEqual({
      items: [],
      next_cursor: null,
      total: 0,
    });
    const since = encodeURIComponent(String(all.items[0]?.['time']));
    expect((await list(`/audit?since=${since}`)).body.items.map(({ seq }) => seq)).toContain(
      all.items[0]?.['seq'],
    );
    expect((await list('/audit?since=2099-01-01T00:00:00Z')).body.total).toBe(0);
    expect((await list('/audit?since=yesterday')).status).toBe(422);
  });

  it('the audit log names a change of a shared pool for each of its domains', async () => {
    await suite.api('POST', '/domains', { domain: 'one.shared', ip: '127.0.0.1', http_port: two.port });
    await suite.api('POST', '/domains', { domain: 'two.shared', share_with: 'one.shared' });
    await suite.api('PUT', '/domains/one.shared/servers/1/weight', { weight: 7 });
    expect((await list('/audit?domain=two.shared&limit=1')).body.items).toMatchObject([
      { operation: 'haproxy_set_server_weight', arguments: { domain: 'one.shared', weight: 7 } },
    ]);
    for (const domain of ['one.shared', 'two.shared']) await suite.api('DELETE', `/domains/${domain}`);
  });

  it('the health of servers is filtered by address', async () => {
    expect((await list('/servers/health?ip=127.0.0.1')).body.items).toMatchObject([
      { http_port: two.port },
      { http_port: two.port },
    ]);
    expect((await list('/servers/health?ip=127.0.0.1&status=MAINT')).body.total).toBe(1);
    expect((await list('/servers/health?ip=10.0.0.1')).body.total).toBe(0);
    expect((await list('/servers/health?ip=host')).status).toBe(422);
  });

  it('certificates without acme.sh are refused at once, and no operation is started', async () => {
    const answer = await suite.api('POST', '/certificates', { domain: 'shop.example' });
    expect(answer).toMatchObject({ status: 502, body: { code: 'acme_failed' } });
    expect(answer.body['detail']).toContain('ACME_SH');
    expect((await list('/operations?limit=1000')).body.items).not.toContainEqual(
      expect.objectContaining({ kind: 'issue_cert' }),
    );
  });

  it('the list of operations shows who waits', async () => {
    const waiting = suite.api('POST', '/domains/down.example/wait-healthy', { timeout: 3 });
    await expect
      .poll(async () => (await list('/operations?status=running')).body.items, { timeout: 30_000 })
      .toMatchObject([{ kind: 'wait_healthy', domain: 'down.example', actor: 'admin', status: 'running' }]);
    await waiting;
    expect((await list('/operations?limit=1')).body.items).toMatchObject([
      { kind: 'wait_healthy', status: 'succeeded' },
    ]);
  });
});
