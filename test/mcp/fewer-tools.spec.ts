import { writeFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { serveStdio, stdioTarget } from '../../src/mcp/stdio/stdio-command.js';
import { loadSettings } from '../../src/settings/settings.js';
import { ADMIN, READER, type Running, startFixture, withTokens } from '../edge/fixture.js';
import { until } from '../kit/poll.js';
import { statelessHeaders, statelessMessage } from './stateless-request.js';

interface Answer {
  result?: Record<string, unknown>;
  error?: { code: number; message: string };
}
type Send = (method: string, params?: Record<string, unknown>) => Promise<Answer>;

const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

/** Parses the last message of a response. Messages before it are notifications. */
function answerIn(text: string): Answer {
  const lines = text.split('\n').filter((line) => line.startsWith('data: ') || line.startsWith('{'));
  return JSON.parse((lines.at(-1) ?? '').replace(/^data: /, '')) as Answer;
}

/** A client for each way to connect. */
const CLIENTS: Record<string, (suite: Running, token: string) => Promise<Send>> = {
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
    const initialized = await post({ method: 'initialize', params });
    await initialized.text();
    const session = { 'mcp-session-id': initialized.headers.get('mcp-session-id') ?? '' };
    return async (method, params = {}) => answerIn(await (await post({ method, params }, session)).text());
  },
  'without a session': async ({ url }, token) => {
    return async (method, params = {}) => {
      const response = await fetch(`${url}/mcp`, {
        method: 'POST',
        headers: statelessHeaders(token, method, params),
        body: JSON.stringify(statelessMessage(method, params)),
      });
      return answerIn(await response.text());
    };
  },
  'over stdio': async ({ home, port }, token) => {
    return async (method, params = {}) => {
      const tokenFile = `${home}/token-of-${token === ADMIN ? 'admin' : 'reader'}`;
      await writeFile(tokenFile, token);
      const [input, output] = [new PassThrough(), new PassThrough()];
      const settings = loadSettings({ HAPROXY_HOME: home, MCP_PORT: String(port) });
      const done = serveStdio(stdioTarget({ 'token-file': tokenFile }, settings), input, output);
      let text = '';
      output.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      input.write(`${JSON.stringify(statelessMessage(method, params))}\n`);
      await until(() => /"id":1[,}].*\n$/.test(text), { what: 'the answer' });
      input.end();
      await done;
      return answerIn(text);
    };
  },
};

const namesIn = (answer: Answer, list: string) =>
  ((answer.result?.[list] ?? []) as { name: string }[]).map(({ name }) => name);
const callTool = (name: string, args: object = {}) => ['tools/call', { name, arguments: args }] as const;

let suite: Running;
afterEach(() => suite.stop());

describe.each(Object.entries(CLIENTS))('A client %s', (_, connect) => {
  it('sees all tools and prompts with the admin token', async () => {
    suite = await startFixture(withTokens);
    const send = await connect(suite, ADMIN);
    expect(namesIn(await send('tools/list'), 'tools')).toContain('haproxy_add_domain');
    expect(namesIn(await send('prompts/list'), 'prompts')).toHaveLength(5);
    expect((await send(...callTool('haproxy_clear_things'))).result).not.toHaveProperty('isError', true);
  });

  it('sees only reading tools, and prompts that need no other tools, with the read-only token', async () => {
    suite = await startFixture(withTokens);
    const send = await connect(suite, READER);
    const tools = (await send('tools/list')).result?.['tools'] as {
      annotations: { readOnlyHint: boolean };
    }[];
    expect(tools.length).toBeGreaterThan(10);
    expect(tools.every(({ annotations }) => annotations.readOnlyHint)).toBe(true);
    const refused = { isError: true, structuredContent: { code: 'forbidden' } };
    expect((await send(...callTool('haproxy_clear_things'))).result).toMatchObject(refused);
    expect((await send(...callTool('haproxy_add_domain'))).result).toMatchObject(refused);
    // A caller that may only read may ask for a plan.
    expect((await send(...callTool('haproxy_add_domain', { dry_run: true }))).result).toMatchObject({
      structuredContent: { code: 'validation_failed' },
    });
    // The other prompts need tools that change something.
    expect(namesIn(await send('prompts/list'), 'prompts')).toEqual(['diagnose_domain']);
    const prompt = { name: 'add_service', arguments: { domain: 'a.example', servers: '10.0.0.1' } };
    expect((await send('prompts/get', prompt)).error).toMatchObject({ code: -32_602 });
    const allowed = { name: 'diagnose_domain', arguments: { domain: 'a.example' } };
    expect((await send('prompts/get', allowed)).error).toBeUndefined();
    expect((await send('resources/list')).result?.['resources']).toHaveLength(3);
    expect((await send('resources/read', { uri: 'haproxy://certificates' })).error).toBeUndefined();
    const ref = { type: 'ref/prompt', name: 'diagnose_domain' };
    const argument = { name: 'domain', value: 'a' };
    expect((await send('completion/complete', { ref, argument })).error).toBeUndefined();
  });

  it('sees only the tools that MCP_TOOLSETS and MCP_READ_ONLY allow, even with the admin token', async () => {
    suite = await startFixture(withTokens, { MCP_TOOLSETS: 'health', MCP_READ_ONLY: 'true' });
    const send = await connect(suite, ADMIN);
    expect(namesIn(await send('tools/list'), 'tools').slice(0, 3)).toEqual([
      'haproxy_health',
      'haproxy_domain_health',
      'haproxy_wait_healthy',
    ]);
    for (const name of ['haproxy_add_domain', 'haproxy_list_domains', 'haproxy_clear_things'])
      expect((await send(...callTool(name))).error, name).toMatchObject({ code: -32_602 });
    expect((await send(...callTool('haproxy_list_things'))).error).toBeUndefined();
    expect(namesIn(await send('prompts/list'), 'prompts')).toEqual([]);
    expect((await send('resources/list')).result?.['resources']).toHaveLength(3);
    // The settings do not affect REST.
    const headers = { authorization: `Bearer ${ADMIN}` };
    expect((await fetch(`${suite.url}/api/v1/things`, { method: 'DELETE', headers })).status).toBe(200);
  });
});
