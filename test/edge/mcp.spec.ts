import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MAX_SESSIONS, SessionStore } from '../../src/mcp/sessions/session-store.js';
import { McpCatalogue } from '../../src/mcp/catalogue/mcp-catalogue.js';
import { outputSchemasOf } from '../kit/output-schemas.js';
import { ADMIN, READER, type Running, startFixture, ThingsService, withTokens } from './fixture.js';

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, formats: { 'date-time': true } });

let suite: Running;
let client: Client;
let fullSchemas: Map<string, object>;
beforeAll(async () => {
  suite = await startFixture(withTokens);
  fullSchemas = outputSchemasOf(suite.app);
});
afterAll(() => suite.stop());
beforeEach(async () => {
  client = await connect(ADMIN);
});
afterEach(() => client.close());

async function connect(token: string): Promise<Client> {
  const connecting = new Client({ name: 'test', version: '1' });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await connecting.connect(new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), { requestInit }));
  return connecting;
}

/** Calls a tool and validates the result, also an error, against the tool's output schema. */
async function call(name: string, given: Record<string, unknown> = {}, by = client): Promise<CallToolResult> {
  const { tools } = await by.listTools();
  const result = (await by.callTool({ name, arguments: given })) as CallToolResult;
  const schema = tools.find((tool) => tool.name === name)?.outputSchema;
  for (const one of [schema, fullSchemas.get(name)])
    if (one && !ajv.validate(one, result.structuredContent))
      throw new Error(`${name} answered against its output schema: ${ajv.errorsText()}`);
  return result;
}

async function post(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${suite.url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ADMIN}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
};

async function openSession(headers: Record<string, string> = {}): Promise<string> {
  const response = await post(initialize, headers);
  await response.text();
  return response.headers.get('mcp-session-id') ?? '';
}

describe('tools/list', () => {
  it('has server info and instructions for models', () => {
    expect(client.getServerVersion()).toMatchObject({ name: 'haproxy-suite', version: '0.1.0' });
    expect(client.getInstructions()).toContain('haproxy_list_domains');
  });

  it('shows every declared method with all hints and both schemas, in a stable order', async () => {
    const { tools } = await client.listTools();
    const names = tools.map(({ name }) => name);
    // Tools of the specification come first, in its order. Others follow, sorted by name.
    expect(names.slice(0, 4)).toEqual([
      'haproxy_list_domains',
      'haproxy_get_domain',
      'haproxy_add_domain',
      'haproxy_put_domain',
    ]);
    const own = names.slice(names.indexOf('haproxy_add_thing'));
    expect(own).toEqual(own.toSorted());
    expect(own.length).toBe(5);
    for (const tool of tools) {
      const { readOnlyHint, ...hints } = tool.annotations ?? {};
      expect(Object.keys(hints).toSorted()).toEqual(
        readOnlyHint ? ['openWorldHint'] : ['destructiveHint', 'idempotentHint', 'openWorldHint'],
      );
      expect(tool).toMatchObject({ inputSchema: { type: 'object', additionalProperties: false } });
      expect(ajv.validateSchema(tool.inputSchema)).toBe(true);
      expect(ajv.validateSchema(tool.outputSchema ?? false)).toBe(true);
    }
    expect(tools.find(({ name }) => name === 'haproxy_add_thing')).toMatchSnapshot();
  });

  it('shows a read-only token only reading tools, and refuses the others', async () => {
    const reader = await connect(READER);
    const { tools } = await reader.listTools();
    expect(tools.length).toBeGreaterThan(0);
    expect(tools.every(({ annotations }) => annotations?.readOnlyHint)).toBe(true);
    await expect(call('haproxy_list_things', {}, reader)).resolves.toMatchObject({
      structuredContent: { limit: 100 },
    });
    await expect(call('haproxy_clear_things', {}, reader)).resolves.toMatchObject({
      isError: true,
      structuredContent: { code: 'forbidden' },
    });
    await reader.close();
  });
});

describe('tools/call', () => {
  it('calls the service method like REST, with the same caller', async () => {
    const result = await call('haproxy_add_thing', { domain: 'M.Example', parts: '[{"ip":"10.0.0.1"}]' });
    const thing = {
      domain: 'm.example',
      parts: [{ ip: '10.0.0.1', http_port: 80 }],
      state: 'ready',
      actor: 'admin',
      via: 'mcp',
    };
    expect(result.structuredContent).toEqual(thing);
    const [content] = result.content;
    expect(JSON.parse(content?.type === 'text' ? content.text : '')).toEqual(thing);
  });

  it('fails with a code, the next step and the existing object', async () => {
    await call('haproxy_add_thing', { domain: 'twice.example' });
    const result = await call('haproxy_add_thing', { domain: 'twice.example' });
    const detail = 'twice.example exists; remove it first.';
    expect(result).toMatchObject({
      isError: true,
      structuredContent: { code: 'domain_exists', detail, existing: { domain: 'twice.example' } },
      content: [{ text: expect.stringMatching(/^domain_exists: twice\.example exists/) as unknown }],
    });
  });

  it.each([
    [{}, 'domain'],
    [{ domain: 'a;b' }, 'domain'],
    [{ domain: 'a.example', extra: 1 }, 'extra'],
    [{ domain: 'a.example', hasOwnProperty: 1 }, 'hasOwnProperty'],
    [{ domain: 'a.example', parts: [{ ip: '10.0.0.1', http_port: 'x' }] }, 'parts[0].http_port'],
    [{ domain: 'a.example', parts: 'x'.repeat(10_000) }, 'parts'],
  ])('refuses the arguments %.60j and names the invalid field', async (given, field) => {
    await expect(call('haproxy_add_thing', given)).resolves.toMatchObject({
      isError: true,
      structuredContent: { code: 'validation_failed', errors: [{ field }] },
    });
  });

  it('refuses arguments of a tool that has none', async () => {
    await expect(call('haproxy_clear_things', { all: true })).resolves.toMatchObject({
      structuredContent: { code: 'validation_failed', errors: [{ field: 'all' }] },
    });
  });

  it('refuses an unknown tool', async () => {
    await expect(call('haproxy_nothing')).rejects.toMatchObject({ code: -32_602 });
    await expect(call('toString')).rejects.toMatchObject({ code: -32_602 });
  });

  it('answers an unexpected error with an id and without its message', async () => {
    const result = await call('haproxy_break');
    expect(result).toMatchObject({ isError: true, structuredContent: { code: 'internal_error' } });
    expect(JSON.stringify(result)).not.toContain('secret');
  });

  it('sends progress to a caller that requests it', async () => {
    const steps: number[] = [];
    await client.callTool({ name: 'haproxy_wait_things', arguments: { limit: 3 } }, undefined, {
      onprogress: ({ progress, total }) => {
        expect(total).toBe(3);
        steps.push(progress);
      },
    });
    expect(steps).toEqual([1, 2, 3]);
  });

  it('aborts the signal of the method when the caller cancels', async () => {
    const cancel = new AbortController();
    const calling = client.callTool({ name: 'haproxy_wait_things', arguments: { all: true } }, undefined, {
      signal: cancel.signal,
      onprogress: () => {
        cancel.abort();
      },
    });
    await expect(calling).rejects.toThrow(/abort/i);
    await expect(suite.app.get(ThingsService, { strict: false }).cancelled).resolves.toBeUndefined();
  });
});

describe('the transport', () => {
  it.each([
    ['{bad', 400, -32_700],
    ['{"jsonrpc":"2.0"}', 400, -32_600],
    ['null', 400, -32_600],
    [`"${'x'.repeat(1024 * 1024)}"`, 413, -32_600],
  ])('answers %.20s with a JSON-RPC error', async (body, status, code) => {
    const response = await post(body);
    expect(response.status).toBe(status);
    await expect(response.json()).resolves.toMatchObject({ jsonrpc: '2.0', id: null, error: { code } });
  });

  it.each(['null', '[]', '5', '{"jsonrpc":"2.0"}'])('answers %s within a session', async (body) => {
    const id = await openSession();
    const response = await post(body, { 'mcp-session-id': id });
    expect([400, 202]).toContain(response.status);
    await response.text();
  });

  it('binds a session to its caller', async () => {
    const id = await openSession();
    const list = { jsonrpc: '2.0', id: 2, method: 'tools/list' };
    const own = await post(list, { 'mcp-session-id': id });
    expect(own.status).toBe(200);
    await own.text();
    const other = await post(list, { 'mcp-session-id': id, authorization: `Bearer ${READER}` });
    expect(other.status).toBe(404);
    const unknown = await post(list, { 'mcp-session-id': 'made-up' });
    expect(unknown.status).toBe(404);
  });

  it('ends a session on DELETE', async () => {
    const id = await openSession();
    const headers = { authorization: `Bearer ${ADMIN}`, 'mcp-session-id': id };
    expect((await fetch(`${suite.url}/mcp`, { method: 'DELETE', headers })).status).toBe(200);
    expect((await post({ jsonrpc: '2.0', id: 2, method: 'ping' }, { 'mcp-session-id': id })).status).toBe(
      404,
    );
  });

  it('limits the number of sessions and keeps the newest', async () => {
    let id = '';
    for (let count = 0; count < MAX_SESSIONS + 10; count += 1) id = await openSession();
    expect(suite.app.get(SessionStore, { strict: false }).size).toBeLessThanOrEqual(MAX_SESSIONS);
    const newest = await post({ jsonrpc: '2.0', id: 2, method: 'ping' }, { 'mcp-session-id': id });
    expect(newest.status).toBe(200);
    await newest.text();
  }, 300_000);

  it('stops while a client listens and a call runs', async () => {
    const other = await startFixture(withTokens);
    const requestInit = { headers: { authorization: `Bearer ${ADMIN}` } };
    const listening = new Client({ name: 'test', version: '1' });
    await listening.connect(new StreamableHTTPClientTransport(new URL(`${other.url}/mcp`), { requestInit }));
    const waiting = new Promise<void>((resolve) => {
      const options = { onprogress: () => resolve() };
      listening
        .callTool({ name: 'haproxy_wait_things', arguments: { all: true } }, undefined, options)
        .catch(() => undefined);
    });
    await waiting;
    const { cancelled } = other.app.get(ThingsService, { strict: false });
    const started = performance.now();
    await other.stop();
    // Well before the shutdown timeout (STOP_MS in main.ts), also on a busy machine.
    expect(performance.now() - started).toBeLessThan(20_000);
    await expect(cancelled).resolves.toBeUndefined();
    await listening.close();
  });
});

it('McpCatalogue.load > derives the same tools a second time', () => {
  const methods = suite.app.get(McpCatalogue, { strict: false });
  const shown = () =>
    JSON.stringify([methods.tools.list('admin'), methods.resources.list(), methods.resources.templates()]);
  const before = shown();
  methods.load(suite.app);
  expect(shown()).toBe(before);
});
