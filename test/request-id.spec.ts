import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

describe('Request ids', () => {
  let home: Home;
  let suite: Suite;

  beforeAll(async () => {
    home = await makeHome(oldestHaproxy());
    suite = await Suite.start(home);
  });

  afterAll(async () => {
    await suite.stop();
    await home.remove();
  });

  const call = async (path: string, body: object, headers: Record<string, string> = {}) => {
    const response = await fetch(`${suite.url}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await suite.token()}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...headers,
      },
      body: JSON.stringify(body),
    });
    return { id: response.headers.get('x-request-id'), text: await response.text() };
  };
  const audited = async () =>
    (await readFile(join(home.path, 'data/audit.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { outcome: string; via: string; request_id?: string });

  it('keeps the id of a client in the answer, in the audit line and in a problem', async () => {
    const sent = { 'x-request-id': 'ci-run_42:step.7' };
    const added = await call('/api/v1/domains', { domain: 'a.example' }, sent);
    expect(added.id).toBe('ci-run_42:step.7');
    expect((await audited()).at(-1)).toMatchObject({ outcome: 'ok', request_id: 'ci-run_42:step.7' });
    const again = await call('/api/v1/domains', { domain: 'a.example' }, sent);
    expect(JSON.parse(again.text)).toMatchObject({ code: 'domain_exists', request_id: 'ci-run_42:step.7' });
    const invalid = await call('/api/v1/domains', { domain: '..' }, sent);
    expect(invalid.id).toBe('ci-run_42:step.7');
    expect((await audited()).at(-1)).toMatchObject({
      outcome: 'validation_failed',
      request_id: 'ci-run_42:step.7',
    });
  });

  it('makes an id if there is none, or one that a log could misread', async () => {
    const ids: (string | null)[] = [];
    for (const given of [undefined, 'a b', 'x'.repeat(129), '"},{"'])
      ids.push((await call('/api/v1/domains', {}, given === undefined ? {} : { 'x-request-id': given })).id);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(ids).size).toBe(ids.length);
    expect((await fetch(`${suite.url}/no-such-path`)).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('gives a tool call the id of its HTTP request', async () => {
    const { id } = await call(
      '/mcp',
      {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: {
          name: 'haproxy_add_domain',
          arguments: { domain: 'b.example' },
          _meta: {
            'io.modelcontextprotocol/protocolVersion': '2026-07-28',
            'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
            'io.modelcontextprotocol/clientCapabilities': {},
          },
        },
      },
      {
        'x-request-id': 'mcp-1',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'haproxy_add_domain',
      },
    );
    expect(id).toBe('mcp-1');
    expect((await audited()).at(-1)).toMatchObject({ outcome: 'ok', via: 'mcp', request_id: 'mcp-1' });
  });
});

describe('JOURNAL_STREAM', () => {
  it('gives each line its priority if the stream is the journal, and not if the variable is inherited', async () => {
    const lines = (journal: string) =>
      new Promise<string>((resolve) => {
        // A shell that learns the inode of its stream, as systemd does before it starts a service.
        const shell = `JOURNAL_STREAM=${journal} exec ${process.execPath} ${join(import.meta.dirname, '../dist/main.js')}`;
        const child = spawn('sh', ['-c', shell], {
          env: { PATH: process.env['PATH'] ?? '', MCP_PORT: '0' },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        let text = '';
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (chunk: Buffer) => {
            text += chunk.toString();
          });
        child.once('close', () => resolve(text));
      });
    expect(await lines('$(stat -Lc %d:%i /proc/self/fd/2)')).toMatch(/^<3>haproxy-suite: MCP_PORT/);
    expect(await lines('1:1')).toMatch(/^haproxy-suite: MCP_PORT/);
  });
});
