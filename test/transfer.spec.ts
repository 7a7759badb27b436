import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const FILES = ['servers.json', 'domains.map', 'pools.cfg'] as const;
/** Enough to exceed the body limit of other routes, and few enough for a fast test. */
const MANY = 20_000;
const READER = 'r'.repeat(40);

describe('import and export', () => {
  let home: Home;
  let suite: Suite;
  let backend: Backend;

  const files = () => Promise.all(FILES.map((name) => readFile(home.file(name), 'utf8')));

  const send = async (query: string, body: string, type = 'application/x-ndjson', token?: string) => {
    const response = await fetch(`${suite.url}/api/v1/import${query}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token ?? (await suite.token())}`, 'content-type': type },
      body,
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  const exported = async (query = '', token?: string) => {
    const headers = { authorization: `Bearer ${token ?? (await suite.token())}` };
    const response = await fetch(`${suite.url}/api/v1/export${query}`, { headers });
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      text: await response.text(),
    };
  };

  const auditLines = async () =>
    (await readFile(join(home.path, 'data/audit.jsonl'), 'utf8')).trim().split('\n');

  beforeAll(async () => {
    backend = await startBackend('imported');
    home = await makeHome(oldestHaproxy(), {
      HAPROXY_POOL_COUNT: '20',
      ALLOWED_SERVER_NETWORKS: '127.0.0.0/8,10.0.0.0/8',
      TRUSTED_NETWORKS: '',
    });
    await writeFile(
      home.file('mcp-token.env'),
      `MCP_TOKEN=${'a'.repeat(40)}\nMCP_READONLY_TOKEN=${READER}\n`,
      {
        mode: 0o600,
      },
    );
    suite = await Suite.start(home);
  });

  afterAll(async () => {
    await suite.stop();
    await home.remove();
    await backend.close();
  });

  it('an import is live with its answer, has one revision and one audit line', async () => {
    const lines = [
      { domain: 'www.one.test', share_with: 'one.test' },
      { domain: 'one.test', servers: [{ ip: '127.0.0.1', http_port: backend.port }] },
      { domain: '*.two.test', ip: '127.0.0.1', http_port: backend.port },
    ];
    const answer = await send('', lines.map((line) => JSON.stringify(line)).join('\r\n\n'));
    expect(answer).toMatchObject({ status: 200, body: { lines: 3, domains_added: 3, servers_added: 2 } });
    for (const host of ['www.one.test', 'one.test', 'a.two.test'])
      expect((await get(home.httpPort, host)).body).toBe('imported');
    const last = JSON.parse((await auditLines()).at(-1) ?? '') as object;
    expect(last).toMatchObject({
      operation: 'haproxy_import',
      arguments: { mode: 'merge', on_error: 'abort', dry_run: false },
      revision_before: 0,
      revision_after: 1,
      outcome: 'ok',
    });
  });

  it('an import of an unchanged export with mode=replace changes nothing', async () => {
    const before = await files();
    const ndjson = await exported();
    expect(ndjson).toMatchObject({ status: 200, type: 'application/x-ndjson' });
    expect(ndjson.text.trim().split('\n')).toHaveLength(3);
    const json = await exported('?format=json');
    expect(json.type).toContain('application/json');
    expect(await send('?mode=replace', ndjson.text)).toMatchObject({
      status: 200,
      body: { domains_removed: 0 },
    });
    expect((await send('?mode=replace', json.text, 'application/json')).status).toBe(200);
    expect(await files()).toEqual(before);
  });

  it('an import with an invalid line changes nothing and names the line', async () => {
    const before = await files();
    const good = '{"domain":"new.test"}';
    const wrong = [
      ['{"domain":"-bad.name"}', 422, 'validation_failed', /line 2: domain must be/],
      ['{"domain":', 422, 'validation_failed', /line 2: is not JSON/],
      ['{"domain":"new.test"}', 422, 'validation_failed', /line 2: new\.test is already on line 1/],
      ['{"domain":"x.test","ip":"192.0.2.1"}', 403, 'forbidden', /line 2: .*ALLOWED_SERVER_NETWORKS/],
      ['{"domain":"one.test","servers":[{"slot":1,"ip":"10.0.0.1"}]}', 409, 'slot_taken', /line 2: /],
      ['{"domain":"x.test","share_with":"y.test"}', 404, 'domain_not_found', /line 2: share_with/],
      [
        Array.from({ length: 20 }, (_, n) => `{"domain":"n${n}.test"}`).join('\n'),
        409,
        'pools_exhausted',
        /line 19: all 20 pools/,
      ],
    ] as const;
    for (const [line, status, code, detail] of wrong)
      expect(await send('', `${good}\n${line}\n`)).toMatchObject({
        status,
        body: { code, detail: expect.stringMatching(detail) as string },
      });
    expect(await send('', '{"domain":"x.test"}', 'application/json')).toMatchObject({ status: 422 });
    expect(await send('?mode=replace', '\n')).toMatchObject({ status: 422 });
    expect(await send('?mode=replace&on_error=skip', good)).toMatchObject({ status: 422 });
    expect(await send('?mode=all', good)).toMatchObject({ status: 422 });
    expect((await send('', 'a=b', 'application/x-www-form-urlencoded')).status).toBe(415);
    expect(await files()).toEqual(before);
    expect((await get(home.httpPort, 'new.test')).status).toBe(404);
  });

  it('other routes refuse NDJSON', async () => {
    const answer = await fetch(`${suite.url}/api/v1/domains`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await suite.token()}`, 'content-type': 'application/x-ndjson' },
      body: '{"domain":"new.test"}',
    });
    expect(answer.status).toBe(415);
  });

  it('a dry run shows the counts and the first 100 steps, and changes nothing', async () => {
    const before = await files();
    const lines = Array.from({ length: 500 }, (_, n) => `{"domain":"d${n}.test","share_with":"one.test"}`);
    for (const type of ['application/x-ndjson', 'application/json']) {
      const text = type.endsWith('x-ndjson') ? lines.join('\n') : `[${lines.join(',')}]`;
      const { body } = await send('?dry_run=true', text, type);
      expect(body).toMatchObject({ dry_run: true, domains_added: 500, plan_steps: 502 });
      expect(body['plan']).toHaveLength(100);
    }
    expect(await files()).toEqual(before);
  });

  it('on_error=skip skips invalid lines and reports them', async () => {
    const answer = await send('?on_error=skip', '{"domain":"ok.test"}\n{"domain":"-no"}\nnonsense\n');
    expect(answer).toMatchObject({
      status: 200,
      body: {
        domains_added: 1,
        skipped_count: 2,
        skipped: [
          { line: 2, code: 'validation_failed' },
          { line: 3, code: 'validation_failed' },
        ],
      },
    });
  });

  it(`imports ${MANY} domains in one call, and exports all of them`, async () => {
    const names = Array.from({ length: MANY }, (_, n) => `name-${n}.of-many-others.test`);
    const lines = names.map((domain, n) =>
      JSON.stringify(
        n === 0 ? { domain, ip: '127.0.0.1', http_port: backend.port } : { domain, share_with: names[0] },
      ),
    );
    const text = lines.join('\n');
    expect(text.length).toBeGreaterThan(1024 * 1024);
    expect(await send('?mode=replace', text)).toMatchObject({ status: 200, body: { lines: MANY } });
    for (const host of [names[0]!, names.at(-1)!])
      expect((await get(home.httpPort, host)).body).toBe('imported');
    expect((await get(home.httpPort, 'one.test')).status).toBe(404);
    expect((await exported()).text.trim().split('\n')).toHaveLength(MANY);
    const back = await send('?mode=replace', (await exported('?format=json')).text, 'application/json');
    expect(back).toMatchObject({ status: 200, body: { lines: MANY, domains_added: 0, domains_removed: 0 } });
    expect(Math.max(...(await auditLines()).map((line) => line.length))).toBeLessThan(1000);
  });

  it('import needs the admin token, and export accepts any token', async () => {
    expect((await send('', '{"domain":"x.test"}', 'application/x-ndjson', READER)).status).toBe(403);
    expect((await exported('', READER)).status).toBe(200);
    expect((await exported('', 'nonsense')).status).toBe(401);
  });
});
