import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventFeed } from '../../src/signals/event-feed.js';
import { readEventData } from '../../src/mcp/stdio/server-sent-events.js';
import { ADMIN, type Running, startFixture, withTokens } from '../edge/fixture.js';
import { statelessHeaders, statelessMessage } from './stateless-request.js';

interface RpcAnswer {
  id: number | null;
  result?: Record<string, unknown>;
  error?: { code: number; message: string; data?: { supported?: string[] } };
}
type Params = Record<string, unknown>;

const HEADERS = {
  authorization: `Bearer ${ADMIN}`,
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
};
const CLIENT = {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'test', version: '1' },
};

let suite: Running;
let session: string;
beforeAll(async () => {
  suite = await startFixture(withTokens);
  const opened = await post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: CLIENT });
  session = opened.headers.get('mcp-session-id') ?? '';
  await opened.text();
});
afterAll(() => suite.stop());

function post(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${suite.url}/mcp`, {
    method: 'POST',
    headers: { ...HEADERS, ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function answerOf(response: Response): Promise<RpcAnswer> {
  if (response.headers.get('content-type')?.startsWith('text/event-stream') !== true)
    return (await response.json()) as RpcAnswer;
  for await (const text of readEventData(response.body!)) {
    const message = JSON.parse(text) as RpcAnswer;
    // Not a log line.
    if ('id' in message) return message;
  }
  throw new Error('the stream had no message');
}

/** The same request in both protocol families. */
const FAMILIES: [name: string, send: (method: string, params: Params) => Promise<Response>][] = [
  [
    'sessions',
    (method, params) => post({ jsonrpc: '2.0', id: 1, method, params }, { 'mcp-session-id': session }),
  ],
  [
    'stateless',
    (method, params) => post(statelessMessage(method, params), statelessHeaders(ADMIN, method, params)),
  ],
];

const prompt = { type: 'ref/prompt', name: 'add_service' };
const listThings = 'haproxy_list_things';
const INVALID: [method: string, params: Params, names: string][] = [
  ['tools/call', {}, 'params.name is missing'],
  ['tools/call', { name: 5 }, 'params.name must be a string'],
  ['tools/call', { name: listThings, arguments: 'x' }, 'params.arguments must be an object'],
  ['tools/call', { name: listThings, arguments: null }, 'params.arguments must be an object'],
  ['tools/call', { name: listThings, arguments: [] }, 'params.arguments must be an object'],
  ['tools/call', { name: 'haproxy_no_tool' }, 'There is no tool haproxy_no_tool'],
  ['tools/list', { cursor: 'x' }, 'params.cursor must be absent'],
  ['tools/list', { cursor: 5 }, 'params.cursor must be absent'],
  ['resources/read', {}, 'params.uri is missing'],
  ['resources/read', { uri: 5 }, 'params.uri must be a string'],
  ['prompts/get', {}, 'params.name is missing'],
  ['prompts/get', { name: 'add_service', arguments: 'x' }, 'params.arguments must be an object'],
  [
    'prompts/get',
    { name: 'add_service', arguments: { domain: 5 } },
    'params.arguments.domain must be a string',
  ],
  ['prompts/get', { name: 'add_service' }, 'Arguments of add_service are missing: domain, servers'],
  ['completion/complete', {}, 'params.ref is missing'],
  ['completion/complete', { ref: { type: 'x' } }, 'params.ref.type must be one of ref/prompt, ref/resource'],
  ['completion/complete', { ref: prompt, argument: { name: 'domain' } }, 'params.argument.value is missing'],
];
const SESSIONS_ONLY: typeof INVALID = [
  ['resources/subscribe', {}, 'params.uri is missing'],
  ['resources/unsubscribe', {}, 'params.uri is missing'],
  ['resources/subscribe', { uri: 'haproxy://config' }, 'no notifications about haproxy://config'],
  ['logging/setLevel', {}, 'params.level is missing'],
  ['logging/setLevel', { level: 'loud' }, 'params.level must be one of debug, info'],
  [
    'tools/list',
    { _meta: { progressToken: {} } },
    'params._meta.progressToken must be a string or an integer',
  ],
];
const STATELESS_ONLY: typeof INVALID = [
  ['subscriptions/listen', {}, 'params.notifications is missing'],
  ['subscriptions/listen', { notifications: 'x' }, 'params.notifications must be an object'],
  [
    'subscriptions/listen',
    { notifications: { resourceSubscriptions: ['haproxy://state', 'haproxy://config'] } },
    'no notifications about haproxy://config',
  ],
  [
    'subscriptions/listen',
    { notifications: { resourceSubscriptions: ['haproxy://no'] } },
    'There is no resource haproxy://no',
  ],
];

describe.each(FAMILIES)('invalid parameters with %s', (family, send) => {
  it.each([...INVALID, ...(family === 'sessions' ? SESSIONS_ONLY : STATELESS_ONLY)])(
    '%s %j is -32602 with one line',
    async (method, params, names) => {
      const { id, error } = await answerOf(await send(method, params));
      expect({ id, code: error?.code }, error?.message).toEqual({ id: 1, code: -32_602 });
      expect(error?.message).toContain(names);
      expect(error?.message).not.toMatch(/[\n{]/);
    },
  );

  it.each([
    ['haproxy_list_things', { limit: '5', all: null }, { limit: 5 }],
    ['haproxy_clear_things', { dummy: true }, { items: [] }],
    ['haproxy_clear_things', { wrong: true }, { code: 'validation_failed' }],
    ['haproxy_break', { dummy: true }, { code: 'internal_error' }],
    ['haproxy_break', { dry_run: true }, { code: 'validation_failed' }],
  ])('the tool %s called with %j: %j', async (name, given, answer) => {
    const { result } = await answerOf(await send('tools/call', { name, arguments: given }));
    expect(result).toMatchObject({ structuredContent: answer });
    expect(result?.['isError'] === true).toBe('code' in answer);
  });

  it.each([{}, { ttl: 60_000 }, 5, null, 'x'])('a call with task %j runs as usual', async (task) => {
    const { result, error } = await answerOf(
      await send('tools/call', { name: listThings, arguments: {}, task }),
    );
    expect(result, error?.message).toMatchObject({ structuredContent: { limit: 100 } });
  });

  it('an argument with the name __proto__ does not reach a tool', async () => {
    const text = JSON.stringify(
      family === 'sessions'
        ? { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: listThings, arguments: { X: 1 } } }
        : statelessMessage('tools/call', { name: listThings, arguments: { X: 1 } }),
    ).replace('"X":1', '"__proto__":{"limit":1}');
    const headers =
      family === 'sessions'
        ? { 'mcp-session-id': session }
        : statelessHeaders(ADMIN, 'tools/call', { name: listThings });
    const answer = await answerOf(await post(text, headers));
    expect(answer.error?.message).toContain('__proto__');
    expect(answer.error?.code).toBe(-32_602);
  });
});

describe('sessions', () => {
  it.each([
    [{ protocolVersion: '2025-11-25', capabilities: {} }, 'params.clientInfo is missing'],
    [{ ...CLIENT, clientInfo: { name: 'x' } }, 'params.clientInfo.version is missing'],
    [{ ...CLIENT, capabilities: undefined }, 'params.capabilities is missing'],
    [
      { ...CLIENT, capabilities: { roots: 5 } },
      'params.capabilities or params.clientInfo is not as the MCP schema',
    ],
    [{}, 'params.protocolVersion is missing'],
    [undefined, 'params.protocolVersion is missing'],
  ])('initialize with %j says what is missing', async (params, names) => {
    const response = await post({ jsonrpc: '2.0', id: 7, method: 'initialize', params });
    expect([response.status, response.headers.get('mcp-session-id')]).toEqual([400, null]);
    const { id, error } = (await response.json()) as RpcAnswer;
    expect({ id, code: error?.code }).toEqual({ id: 7, code: -32_602 });
    expect(error?.message).toContain(names);
  });

  it('a batch gets an answer for each of its requests', async () => {
    const batch = [
      { jsonrpc: '2.0', id: 1, method: 'tools/call', params: {} },
      { jsonrpc: '2.0', id: 2, method: 'ping' },
    ];
    const response = await post(batch, { 'mcp-session-id': session, 'mcp-protocol-version': '2025-03-26' });
    const answers: RpcAnswer[] = [];
    for await (const text of readEventData(response.body!)) answers.push(JSON.parse(text) as RpcAnswer);
    expect(answers.toSorted((a, b) => Number(a.id) - Number(b.id))).toMatchObject([
      { id: 1, error: { code: -32_602 } },
      { id: 2, result: {} },
    ]);
  });
});

describe('MCP-Protocol-Version', () => {
  const list = { jsonrpc: '2.0', id: 2, method: 'tools/list' };
  const get = (headers: Record<string, string>) =>
    fetch(`${suite.url}/mcp`, { headers: { ...HEADERS, accept: 'text/event-stream', ...headers } });

  it.each([
    [
      'a request in a session',
      (version: string) => post(list, { ...versionHeader(version), 'mcp-session-id': session }),
    ],
    ['a request without a session', (version: string) => post(list, versionHeader(version))],
    [
      'initialize',
      (version: string) =>
        post({ jsonrpc: '2.0', id: 2, method: 'initialize', params: CLIENT }, versionHeader(version)),
    ],
    [
      'a GET in a session',
      (version: string) => get({ ...versionHeader(version), 'mcp-session-id': session }),
    ],
    ['a GET without a session', (version: string) => get(versionHeader(version))],
  ])('a wrong one is refused with the versions that are supported: %s', async (_, send) => {
    for (const version of ['2099-01-01', 'x']) {
      const response = await send(version);
      const { error } = (await response.json()) as RpcAnswer;
      expect([response.status, error?.code]).toEqual([400, -32_022]);
      expect(error?.message).toContain(`does not support the MCP-Protocol-Version ${version}.`);
      expect(error?.data?.supported).toEqual(expect.arrayContaining(['2025-11-25', '2026-07-28']));
    }
  });
});

describe('subscriptions/listen', () => {
  it('notifies about a domain that the client wrote in another form', async () => {
    const params = { notifications: { resourceSubscriptions: ['haproxy://domains/A.Example.'] } };
    const disconnect = new AbortController();
    const response = await fetch(`${suite.url}/mcp`, {
      method: 'POST',
      headers: statelessHeaders(ADMIN, 'subscriptions/listen', params),
      body: JSON.stringify(statelessMessage('subscriptions/listen', params)),
      signal: disconnect.signal,
    });
    const stream = readEventData(response.body!);
    const uri = 'haproxy://domains/a.example';
    const first = await stream.next();
    expect(JSON.parse(String(first.value))).toMatchObject({
      params: { notifications: { resourceSubscriptions: [uri] } },
    });
    suite.app.get(EventFeed).publish({ topic: 'routing', revision: 1, domains: ['a.example'] });
    const second = await stream.next();
    expect(JSON.parse(String(second.value))).toMatchObject({
      method: 'notifications/resources/updated',
      params: { uri },
    });
    disconnect.abort();
  });
});

function versionHeader(version: string): Record<string, string> {
  return { 'mcp-protocol-version': version };
}
