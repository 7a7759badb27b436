import { readFile, rename, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Line {
  seq: number;
  time: string;
  actor: string;
  via: string;
  operation: string;
  arguments: Record<string, unknown>;
  revision_before: number;
  revision_after: number;
  outcome: string;
}

interface Page {
  items: Line[];
  next_cursor: string | null;
  total: number;
}

const ADMIN = 'admin-token-0123456789';
const READER = 'reader-token-0123456789';

let home: Home;
let suite: Suite;
let client: Client;

const logFile = () => join(home.path, 'data/audit.jsonl');
const lines = async () =>
  (await readFile(logFile(), 'utf8'))
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
const lastLine = async () => (await lines()).at(-1);
const stateOf = () =>
  Promise.all(
    (['servers.json', 'domains.map', 'pools.cfg'] as const).map((name) => readFile(home.file(name), 'utf8')),
  );
const connect = async (token: string) => {
  const connected = new Client({ name: 'test', version: '1' });
  await connected.connect(
    new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    }),
  );
  return connected;
};

beforeAll(async () => {
  home = await makeHome(oldestHaproxy());
  await writeFile(home.file('mcp-token.env'), `MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=${READER}\n`, {
    mode: 0o600,
  });
  suite = await Suite.start(home);
  client = await connect(ADMIN);
});
afterAll(async () => {
  await client.close();
  await suite.stop();
  await home.remove();
});

describe('audit log', () => {
  it('records a change over REST with its caller, arguments and revisions', async () => {
    await suite.api('POST', '/domains', { domain: 'A.Example', ip: '127.0.0.1', http_port: 9 });
    expect(await lastLine()).toEqual({
      seq: 1,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      actor: 'admin',
      via: 'rest',
      request_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      operation: 'haproxy_add_domain',
      arguments: { domain: 'a.example', ip: '127.0.0.1', http_port: 9, dry_run: false },
      revision_before: 0,
      revision_after: 1,
      outcome: 'ok',
    });
  });

  it('records a change over MCP in the same form', async () => {
    await client.callTool({
      name: 'haproxy_add_servers',
      arguments: { domain: 'a.example', servers: '[{"slot":3,"ip":"::1","http_port":80}]' },
    });
    expect(await lastLine()).toMatchObject({
      via: 'mcp',
      actor: 'admin',
      operation: 'haproxy_add_servers',
      arguments: { domain: 'a.example', servers: [{ slot: 3, ip: '::1', http_port: 80, weight: 1 }] },
      revision_before: 1,
      revision_after: 2,
      outcome: 'ok',
    });
  });

  it.each([
    ['POST', '/domains', { domain: 'a.example' }, 'haproxy_add_domain', 'domain_exists'],
    ['POST', '/domains', { domain: 'not a domain' }, 'haproxy_add_domain', 'validation_failed'],
    ['DELETE', '/domains/b.example', undefined, 'haproxy_remove_domain', 'domain_not_found'],
    [
      'PUT',
      '/domains/a.example/servers/9/state',
      { state: 'ready' },
      'haproxy_set_server_state',
      'server_not_found',
    ],
  ] as const)('records the refused %s %s', async (method, path, body, operation, outcome) => {
    const before = (await lines()).length;
    await suite.api(method, path, body);
    expect((await lines()).slice(before)).toMatchObject([
      { operation, outcome, via: 'rest', revision_before: 2, revision_after: 2 },
    ]);
  });

  it('records refused tool calls, and forbidden calls of a read-only token', async () => {
    const before = (await lines()).length;
    await client.callTool({ name: 'haproxy_add_domain', arguments: { domain: '' } });
    const reader = await connect(READER);
    await reader.callTool({ name: 'haproxy_remove_domain', arguments: { domain: 'a.example' } });
    await reader.close();
    const headers = { authorization: `Bearer ${READER}` };
    await fetch(`${suite.url}/api/v1/domains/a.example`, { method: 'DELETE', headers });
    const remove = { operation: 'haproxy_remove_domain', outcome: 'forbidden', actor: 'readonly' };
    expect((await lines()).slice(before)).toMatchObject([
      {
        operation: 'haproxy_add_domain',
        outcome: 'validation_failed',
        via: 'mcp',
        arguments: { domain: '' },
      },
      { ...remove, via: 'mcp', arguments: { domain: 'a.example' } },
      { ...remove, via: 'rest', arguments: { domain: 'a.example' } },
    ]);
  });

  it('limits the size and the number of lines of a read-only token', async () => {
    const before = await lines();
    const long = ['x'.repeat(60_000), Array.from({ length: 20_000 }, () => 'y'.repeat(20))];
    const reader = await connect(READER);
    for (let count = 0; count < 3; count += 1)
      await reader.callTool({ name: 'haproxy_add_domain', arguments: { domain: long, ip: long } });
    await reader.close();
    const headers = { authorization: `Bearer ${READER}` };
    const callForbidden = () => fetch(`${suite.url}/api/v1/domains/a.example`, { method: 'DELETE', headers });
    await until(async () => {
      await callForbidden();
      return suite.output.includes('forbidden calls within a minute');
    });
    for (let count = 0; count < 50; count += 1) await callForbidden();
    const all = await lines();
    const added = all.slice(before.length);
    expect(added.length).toBeGreaterThan(3);
    // 60 lines for each minute since the first one. A busy machine may need more than one minute.
    const first = all.find(({ outcome }) => outcome === 'forbidden');
    const minutes = Math.ceil((Date.now() - Date.parse(first?.time ?? '')) / 60_000);
    expect(added.length).toBeLessThanOrEqual(60 * minutes);
    expect(new Set(added.map(({ outcome }) => outcome))).toEqual(new Set(['forbidden']));
    for (const line of added) expect(JSON.stringify(line).length).toBeLessThan(10_000);
    // Calls of other tokens are still recorded.
    await suite.api('DELETE', '/domains/none.example');
    expect(await lastLine()).toMatchObject({ outcome: 'domain_not_found', actor: 'admin' });
  });

  it('records a change without effect, but no call that only reads', async () => {
    const before = (await lines()).length;
    await suite.api('GET', '/domains');
    await suite.api('GET', '/audit');
    await suite.api('PUT', '/domains/a.example', { ip: '127.0.0.1', http_port: 9 });
    expect((await lines()).slice(before)).toMatchObject([
      { operation: 'haproxy_put_domain', revision_before: 2, revision_after: 2, outcome: 'ok' },
    ]);
  });

  it('records each of many concurrent changes once and in order', async () => {
    const before = (await lines()).length;
    const names = Array.from({ length: 40 }, (_, number) => `m${number}.example`);
    await Promise.all(names.map((domain) => suite.api('POST', '/domains', { domain })));
    const added = (await lines()).slice(before);
    expect(added.map((line) => line.revision_after)).toEqual(names.map((_, number) => 3 + number));
    expect(new Set(added.map((line) => line.arguments['domain']))).toEqual(new Set(names));
    expect((await lines()).map(({ seq }) => seq)).toEqual((await lines()).map((_, index) => index + 1));
  });

  it('can be filtered by a name that only version 0.1 accepted', async () => {
    for (const path of ['/audit', '/history']) {
      const { status, body } = await suite.api<Page>('GET', `${path}?domain=10.0.0.300`);
      expect([status, body.items], path).toEqual([200, []]);
    }
  });

  it('is listed page by page, newest first, also for the read-only token', async () => {
    const all = (await lines()).toReversed();
    const seen: Line[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const response = await fetch(`${suite.url}/api/v1/audit?limit=7${query}`, {
        headers: { authorization: `Bearer ${READER}` },
      });
      const page = (await response.json()) as Page;
      expect(page.total).toBe(all.length);
      expect(page.items.length).toBeLessThanOrEqual(7);
      seen.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(seen).toEqual(all);
    expect(await suite.api('GET', '/audit?cursor=x')).toMatchObject({ status: 422 });
  });
});

describe('the filter operation', () => {
  const find = (operation: string) =>
    suite.api<Page & { detail: string }>('GET', `/audit?operation=${operation}`);

  it('accepts the operationId and the name of the tool', async () => {
    const [byId, byTool] = [await find('add_domain'), await find('haproxy_add_domain')];
    expect(byId.body.items.length).toBeGreaterThan(0);
    expect(byId.body).toEqual(byTool.body);
    expect(byId.body.items.every(({ operation }) => operation === 'haproxy_add_domain')).toBe(true);
    // An id that is not the name of its tool, and a job of the suite.
    for (const name of ['import_domains', 'haproxy_import', 'haproxy_renew_scheduled'])
      expect((await find(name)).status).toBe(200);
  });

  it.each(['add_domian', 'haproxy_list_domains', 'POST'])(
    'refuses %s, which no change has, and lists the names that changes have',
    async (name) => {
      const { status, body } = await find(name);
      expect([status, body.detail.startsWith('operation must be')]).toEqual([422, true]);
      for (const known of ['add_domain', 'import_domains', 'replace_server'])
        expect(body.detail).toContain(known);
      expect(body.detail).not.toContain('list_domains');
    },
  );
});

describe('audit log on disk', () => {
  it('refuses a change that it cannot record, before anything is changed', async () => {
    const before = await stateOf();
    const text = await readFile(logFile(), 'utf8');
    // An append to /dev/full fails, and unlike a full disk it affects no other file.
    await rename(logFile(), `${logFile()}.aside`);
    await symlink('/dev/full', logFile());
    const refused = await suite.api('POST', '/domains', { domain: 'full.example' });
    expect(refused).toMatchObject({ status: 507, body: { code: 'storage_failed' } });
    expect(await stateOf()).toEqual(before);
    await unlink(logFile());
    await rename(`${logFile()}.aside`, logFile());
    expect(await readFile(logFile(), 'utf8')).toBe(text);
    expect((await suite.api('POST', '/domains', { domain: 'full.example' })).status).toBe(201);
    const [failed, added] = (await lines()).slice(-2);
    expect(failed).toMatchObject({ outcome: 'storage_failed', arguments: { domain: 'full.example' } });
    expect(added).toMatchObject({ outcome: 'ok', arguments: { domain: 'full.example' } });
  });

  it('continues after a kill, and records that the log and the state differ', async () => {
    const last = await lastLine();
    await suite.kill();
    const revision = last?.revision_after ?? 0;
    const [line] = [
      { ...last, seq: (last?.seq ?? 0) + 1, revision_before: revision, revision_after: revision + 1 },
    ];
    await writeFile(logFile(), `${await readFile(logFile(), 'utf8')}${JSON.stringify(line)}\n{"seq":`);
    suite = await Suite.start(home);
    expect(await lastLine()).toMatchObject({
      seq: line.seq + 1,
      actor: 'suite',
      via: 'internal',
      operation: 'start',
      revision_before: revision + 1,
      revision_after: revision,
    });
  });
});
