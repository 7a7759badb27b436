import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type JSONRPCMessage, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { EventFeed } from '../../src/signals/event-feed.js';
import { SessionStore } from '../../src/mcp/sessions/session-store.js';
import { serveStdio, type StdioOptions, stdioTarget } from '../../src/mcp/stdio/stdio-command.js';
import { loadSettings } from '../../src/settings/settings.js';
import { ADMIN, READER, type Running, startFixture, ThingsService, withTokens } from '../edge/fixture.js';
import { until } from '../kit/poll.js';
import { statelessMessage } from './stateless-request.js';

let suite: Running;
beforeAll(async () => {
  suite = await startFixture(withTokens);
});
afterAll(() => suite.stop());

/** A client transport that runs `haproxy-suite mcp` in this process, on streams instead of stdin and stdout. */
class Stdio implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly received: Record<string, unknown>[] = [];
  readonly #input = new PassThrough();
  readonly #output = new PassThrough();
  readonly ended: Promise<void>;

  constructor(options: StdioOptions = {}, env: Record<string, string> = {}) {
    const settings = loadSettings({ HAPROXY_HOME: suite.home, MCP_PORT: String(suite.port), ...env });
    let pending = '';
    this.#output.on('data', (chunk: Buffer) => {
      const lines = `${pending}${chunk.toString()}`.split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) {
        const message = JSON.parse(line) as JSONRPCMessage;
        this.received.push(message as Record<string, unknown>);
        this.onmessage?.(message);
      }
    });
    this.ended = serveStdio(stdioTarget(options, settings), this.#input, this.#output);
    openTransports.push(this);
  }

  async start(): Promise<void> {}

  async send(message: JSONRPCMessage): Promise<void> {
    this.write(JSON.stringify(message));
  }

  write(line: string): void {
    this.#input.write(`${line}\n`);
  }

  async close(): Promise<void> {
    this.#input.end();
    await this.ended;
    this.onclose?.();
  }

  /** Waits for the answer to the request with this id. */
  answer(id: number): Promise<Record<string, unknown>> {
    return until(() => this.received.find((message) => message['id'] === id), { what: `answer ${id}` });
  }
}

const openTransports: Stdio[] = [];
afterEach(async () => {
  for (const stdio of openTransports.splice(0)) await stdio.close();
});

async function connectClient(stdio = new Stdio()): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(stdio);
  return client;
}

/** A line with a request of the 2026-07-28 revision. */
const statelessLine = (id: number, method: string, params: Record<string, unknown> = {}) =>
  JSON.stringify(statelessMessage(method, params, { id, meta: { progressToken: id } }));

describe('haproxy-suite mcp', () => {
  it('lists the same tools, resources and prompts as HTTP', async () => {
    const client = await connectClient();
    const direct = new Client({ name: 'test', version: '1' });
    const requestInit = { headers: { authorization: `Bearer ${ADMIN}` } };
    await direct.connect(new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), { requestInit }));
    for (const method of ['listTools', 'listResources', 'listResourceTemplates', 'listPrompts'] as const)
      expect(await client[method]()).toEqual(await direct[method]());
    expect(client.getInstructions()).toBe(direct.getInstructions());
    expect(client.getServerCapabilities()).toEqual(direct.getServerCapabilities());
    await direct.close();
  });

  it('forwards results, errors and progress unchanged', async () => {
    const client = await connectClient();
    const steps: number[] = [];
    const result = await client.callTool(
      { name: 'haproxy_wait_things', arguments: { limit: 3 } },
      undefined,
      { onprogress: ({ progress }) => steps.push(progress) },
    );
    expect(result.structuredContent).toEqual({ items: [], limit: 3 });
    expect(steps).toEqual([1, 2, 3]);
    await expect(client.callTool({ name: 'haproxy_add_thing', arguments: {} })).resolves.toMatchObject({
      isError: true,
      structuredContent: { code: 'validation_failed' },
    });
    await expect(client.callTool({ name: 'haproxy_nothing' })).rejects.toMatchObject({ code: -32_602 });
  });

  it('forwards a cancellation with and without a session', async () => {
    const things = suite.app.get(ThingsService, { strict: false });
    const client = await connectClient();
    const cancel = new AbortController();
    const calling = client.callTool({ name: 'haproxy_wait_things', arguments: { all: true } }, undefined, {
      signal: cancel.signal,
      onprogress: () => cancel.abort(),
    });
    await expect(calling).rejects.toThrow(/abort/i);
    await expect(things.cancelled).resolves.toBeUndefined();

    const stdio = new Stdio();
    const call = statelessLine(7, 'tools/call', { name: 'haproxy_wait_things', arguments: { all: true } });
    const before = things.cancelled;
    stdio.write(call);
    await until(() => things.cancelled !== before && stdio.received.length > 0);
    stdio.write(
      JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } }),
    );
    await expect(things.cancelled).resolves.toBeUndefined();
  });

  it('forwards requests of the 2026-07-28 revision', async () => {
    const stdio = new Stdio();
    stdio.write(statelessLine(1, 'server/discover'));
    await expect(stdio.answer(1)).resolves.toMatchObject({ result: { supportedVersions: ['2026-07-28'] } });
    const params = { name: 'haproxy_wait_things', arguments: { limit: 2 } };
    stdio.write(statelessLine(2, 'tools/call', params));
    await expect(stdio.answer(2)).resolves.toMatchObject({ result: { structuredContent: { limit: 2 } } });
    expect(stdio.received.filter(({ method }) => method === 'notifications/progress')).toHaveLength(2);
    stdio.write(statelessLine(3, 'resources/read', { uri: 'haproxy://domains/bücher.example' }));
    await expect(stdio.answer(3)).resolves.toMatchObject({ error: { code: -32_602 } });
  });

  it('forwards notifications, also after it has replaced a lost session', async () => {
    const client = await connectClient();
    const updated: string[] = [];
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => {
      updated.push(params.uri);
    });
    await client.subscribeResource({ uri: 'haproxy://state' });
    const change = () =>
      suite.app.get(EventFeed).publish({ topic: 'routing', revision: 1, domains: ['a.example'] });
    await until(() => {
      change();
      return updated.length > 0;
    });
    // After a restart the suite does not know the session either.
    suite.app.get(SessionStore, { strict: false }).closeAll();
    await expect(client.listTools()).resolves.toMatchObject({ tools: expect.any(Array) as unknown });
    updated.length = 0;
    await until(() => {
      change();
      return updated.length > 0;
    });
    expect(new Set(updated)).toEqual(new Set(['haproxy://state']));
  });

  it('explains what to check if the suite is unreachable or refuses the token', async () => {
    const unreachable = new Stdio({ url: 'http://127.0.0.1:9' });
    unreachable.write('{"jsonrpc":"2.0","id":1,"method":"ping"}');
    await expect(unreachable.answer(1)).resolves.toMatchObject({
      error: {
        message: expect.stringMatching(/http:\/\/127\.0\.0\.1:9\/mcp .* running .*--token-file/) as string,
      },
    });
    const tokenFile = join(suite.home, 'wrong-token');
    await writeFile(tokenFile, 'wrong-token-0123456789\n');
    const refused = new Stdio({ 'token-file': tokenFile });
    refused.write('{"jsonrpc":"2.0","id":1,"method":"ping"}');
    await expect(refused.answer(1)).resolves.toMatchObject({
      error: { message: expect.stringContaining('401') as string },
    });
    await writeFile(tokenFile, `${READER}\n`);
    const reader = await connectClient(new Stdio({ 'token-file': tokenFile }));
    const { tools } = await reader.listTools();
    expect(tools.every(({ annotations }) => annotations?.readOnlyHint)).toBe(true);
  });

  it('writes only messages to stdout when started as a command of the build', async () => {
    const client = new Client({ name: 'test', version: '1' });
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [join(import.meta.dirname, '../../dist/main.js'), 'mcp'],
      env: { HAPROXY_HOME: suite.home, MCP_PORT: String(suite.port) },
      cwd: suite.home,
    });
    await client.connect(transport);
    await expect(client.callTool({ name: 'haproxy_list_things', arguments: {} })).resolves.toMatchObject({
      structuredContent: { limit: 100 },
    });
    await client.close();
  });

  it('answers an invalid line with an error, and reads the next line', async () => {
    const stdio = new Stdio();
    stdio.write('{nonsense');
    stdio.write('');
    await until(() => stdio.received.length === 1);
    expect(stdio.received[0]).toMatchObject({ id: null, error: { code: -32_700 } });
    stdio.write(statelessLine(1, 'tools/list'));
    await expect(stdio.answer(1)).resolves.toMatchObject({ result: { tools: expect.any(Array) as unknown } });
  });

  it.each([
    ['ftp://host', /http/],
    ['nonsense', /--url is not an address/],
  ])('refuses --url %s', (url, message) => {
    expect(() => stdioTarget({ url }, loadSettings({}))).toThrow(message);
  });

  it.each([
    [{}, 'http://127.0.0.1:8000/mcp'],
    [{ MCP_HOST: '::', MCP_PORT: '81' }, 'http://[::1]:81/mcp'],
    [{ MCP_HOST: '10.0.0.1' }, 'http://10.0.0.1:8000/mcp'],
  ])('with the settings %j connects to %s', (env, url) => {
    expect(stdioTarget({}, loadSettings(env)).url).toBe(url);
  });
});
