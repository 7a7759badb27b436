import { writeFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { serveStdio, stdioTarget } from '../../src/mcp/stdio/stdio-command.js';
import { loadSettings } from '../../src/settings/settings.js';
import { ADMIN, READER, type Running, startFixture, withTokens } from '../edge/fixture.js';
import { until } from '../kit/poll.js';

interface Reply {
  result?: Record<string, unknown>;
  error?: { code: number; message: string };
}
type Ask = (method: string, params?: Record<string, unknown>) => Promise<Reply>;

const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

/** The last message of an answer, which is the reply; what comes before it are notifications. */
function replyIn(text: string): Reply {
  const lines = text.split('\n').filter((line) => line.startsWith('data: ') || line.startsWith('{'));
  return JSON.parse((lines.at(-1) ?? '').replace(/^data: /, '')) as Reply;
}

/** One client of each kind, by what it calls itself. */
const CLIENTS: Record<string, (suite: Running, token: string) => Promise<Ask>> = {
  'with a session': async ({ url }, token) => {
    const post = async (body: object, headers: Record<string, string> = {}) => {
      const all = { ...HEADERS, authorization: `Bearer ${token}`, ...headers };
      return fetch(`${url}/mcp`, {
        method: 'POST',
        headers: all,
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
      });
    };
    const clientInfo = { name: 'test', version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
    const begun = await post({ method: 'initialize', params });
    await begun.text();
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' };
    return async (method, params = {}) => replyIn(await (await post({ method, params }, session)).text());
  },
  'without one': async ({ url }, token) => {
    return async (method, params = {}) => {
      const { name, uri } = params;
      const mirrored = typeof name === 'string' ? name : uri;
      const response = await fetch(`${url}/mcp`, {
        method: 'POST',
        headers: {
          ...HEADERS,
          authorization: `Bearer ${token}`,
          'mcp-protocol-version': '2026-07-28',
          'mcp-method': method,
          ...(typeof mirrored === 'string' && { 'mcp-name': mirrored }),
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }),
      });
      return replyIn(await response.text());
    };
  },
  'over stdio': async ({ home, port }, token) => {
    return async (method, params = {}) => {
      const tokenFile = `${home}/token-of-${token === ADMIN ? 'admin' : 'reader'}`;
      await writeFile(tokenFile, token);
      const [input, output] = [new PassThrough(), new PassThrough()];
      const settings = loadSettings({ HAPROXY_HOME: home, MCP_PORT: String(port) });
      const done = serveStdio(stdioTarget(['--token-file', tokenFile], settings), input, output);
      let text = '';
      output.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      input.write(
        `${JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } })}\n`,
      );
      await until(() => /"id":1[,}].*\n$/.test(text), { what: 'the reply' });
      input.end();
      await done;
      return replyIn(text);
    };
  },
};

const namesIn = (reply: Reply, list: string) =>
  ((reply.result?.[list] ?? []) as { name: string }[]).map(({ name }) => name);
const call = (name: string, given: object = {}) => ['tools/call', { name, arguments: given }] as const;

let suite: Running;
afterEach(() => suite.stop());

describe.each(Object.entries(CLIENTS))('a client %s', (_, connect) => {
  it('has all tools and prompts with the admin token', async () => {
    suite = await startFixture(withTokens);
    const ask = await connect(suite, ADMIN);
    expect(namesIn(await ask('tools/list'), 'tools')).toContain('haproxy_add_domain');
    expect(namesIn(await ask('prompts/list'), 'prompts')).toHaveLength(5);
    expect((await ask(...call('haproxy_clear_things'))).result).not.toHaveProperty('isError', true);
  });

  it('has what reads with the read-only token', async () => {
    suite = await startFixture(withTokens);
    const ask = await connect(suite, READER);
    const tools = (await ask('tools/list')).result?.['tools'] as {
      annotations: { readOnlyHint: boolean };
    }[];
    expect(tools.length).toBeGreaterThan(10);
    expect(tools.every(({ annotations }) => annotations.readOnlyHint)).toBe(true);
    const refused = { isError: true, structuredContent: { code: 'forbidden' } };
    expect((await ask(...call('haproxy_clear_things'))).result).toMatchObject(refused);
    expect((await ask(...call('haproxy_add_domain', { dry_run: true }))).result).toMatchObject(refused);
    // The other prompts tell to call what this caller may not.
    expect(namesIn(await ask('prompts/list'), 'prompts')).toEqual(['diagnose_domain']);
    const prompt = { name: 'add_service', arguments: { domain: 'a.example', servers: '10.0.0.1' } };
    expect((await ask('prompts/get', prompt)).error).toMatchObject({ code: -32_602 });
    const own = { name: 'diagnose_domain', arguments: { domain: 'a.example' } };
    expect((await ask('prompts/get', own)).error).toBeUndefined();
    expect((await ask('resources/list')).result?.['resources']).toHaveLength(3);
    expect((await ask('resources/read', { uri: 'haproxy://certificates' })).error).toBeUndefined();
    const ref = { type: 'ref/prompt', name: 'diagnose_domain' };
    const argument = { name: 'domain', value: 'a' };
    expect((await ask('completion/complete', { ref, argument })).error).toBeUndefined();
  });

  it('has only what MCP_TOOLSETS and MCP_READ_ONLY leave, whatever its token', async () => {
    suite = await startFixture(withTokens, { MCP_TOOLSETS: 'health', MCP_READ_ONLY: 'true' });
    const ask = await connect(suite, ADMIN);
    expect(namesIn(await ask('tools/list'), 'tools').slice(0, 3)).toEqual([
      'haproxy_health',
      'haproxy_domain_health',
      'haproxy_get_server_health',
    ]);
    for (const name of ['haproxy_add_domain', 'haproxy_list_domains', 'haproxy_clear_things'])
      expect((await ask(...call(name))).error, name).toMatchObject({ code: -32_602 });
    expect((await ask(...call('haproxy_list_things'))).error).toBeUndefined();
    expect(namesIn(await ask('prompts/list'), 'prompts')).toEqual([]);
    expect((await ask('resources/list')).result?.['resources']).toHaveLength(3);
    // REST stays as it is.
    const headers = { authorization: `Bearer ${ADMIN}` };
    expect((await fetch(`${suite.url}/api/v1/things`, { method: 'DELETE', headers })).status).toBe(200);
  });
});
