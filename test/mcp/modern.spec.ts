import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventFeed } from '../../src/signals/event-feed.js';
import { eventData } from '../../src/mcp/stdio/event-stream.js';
import { ADMIN, READER, type Running, startFixture, ThingsService, withTokens } from '../edge/fixture.js';
import { until } from '../kit/poll.js';

interface Message {
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { code: number; message: string };
}

let suite: Running;
beforeAll(async () => {
  suite = await startFixture(withTokens);
});
afterAll(() => suite.stop());

interface Sent {
  params?: Record<string, unknown>;
  meta?: Record<string, unknown>;
  token?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  url?: string;
}

/** One request of the 2026-07-28 revision, with nothing before it. */
function send(method: string, { params = {}, meta = {}, token = ADMIN, headers = {}, ...rest }: Sent = {}) {
  const { name } = params;
  return fetch(`${rest.url ?? suite.url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof name === 'string' && { 'mcp-name': name }),
      ...headers,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
          'io.modelcontextprotocol/clientCapabilities': {},
          ...meta,
        },
      },
    }),
    ...(rest.signal && { signal: rest.signal }),
  });
}

async function* messages(response: Response): AsyncGenerator<Message> {
  if (response.headers.get('content-type')?.startsWith('text/event-stream'))
    for await (const text of eventData(response.body!)) yield JSON.parse(text) as Message;
  else yield (await response.json()) as Message;
}

async function all(response: Promise<Response>): Promise<Message[]> {
  const found: Message[] = [];
  for await (const message of messages(await response)) found.push(message);
  return found;
}

async function toolsOf(token: string): Promise<{ name: string; annotations: { readOnlyHint: boolean } }[]> {
  const [answer] = await all(send('tools/list', { token }));
  return answer?.result?.['tools'] as never;
}

const waiting = { name: 'haproxy_wait_things', arguments: { all: true } };

describe('the 2026-07-28 revision on the same path', () => {
  it('tells what it can without a session', async () => {
    const response = await send('server/discover');
    expect(response.headers.get('mcp-session-id')).toBeNull();
    await expect(response.json()).resolves.toMatchObject({
      result: {
        supportedVersions: ['2026-07-28'],
        capabilities: { resources: { subscribe: true }, completions: {} },
        instructions: expect.stringContaining('haproxy_list_domains') as string,
      },
    });
  });

  it('shows and allows the read-only token only what reads', async () => {
    const every = await toolsOf(ADMIN);
    const reading = await toolsOf(READER);
    expect(reading).toEqual(every.filter(({ annotations }) => annotations.readOnlyHint));
    const params = { name: 'haproxy_clear_things', arguments: {} };
    const [refused] = await all(send('tools/call', { params, token: READER }));
    expect(refused?.result).toMatchObject({ isError: true, structuredContent: { code: 'forbidden' } });
    expect((await send('tools/list', { token: 'wrong-token-0123456789' })).status).toBe(401);
  });

  it('sends progress to those who ask, and log lines from the level that a request names', async () => {
    const steps = { name: 'haproxy_wait_things', arguments: { limit: 2 } };
    await expect(all(send('tools/call', { params: steps }))).resolves.toHaveLength(1);
    const told = await all(send('tools/call', { params: steps, meta: { progressToken: 'p' } }));
    expect(told.map(({ params }) => params?.['progress'])).toEqual([1, 2, undefined]);
    const broken = { name: 'haproxy_break', arguments: {} };
    const logged = (level: string) =>
      all(send('tools/call', { params: broken, meta: { 'io.modelcontextprotocol/logLevel': level } }));
    const [line] = await logged('warning');
    expect(line).toMatchObject({ method: 'notifications/message', params: { level: 'error' } });
    expect(JSON.stringify(line)).not.toContain('secret');
    await expect(logged('critical')).resolves.toHaveLength(1);
  });

  it('stops a call when its caller hangs up', async () => {
    const things = suite.app.get(ThingsService, { strict: false });
    const before = things.cancelled;
    const gone = new AbortController();
    const response = await send('tools/call', {
      params: waiting,
      meta: { progressToken: 1 },
      signal: gone.signal,
    });
    expect(response.status).toBe(200);
    expect(things.cancelled).not.toBe(before);
    gone.abort();
    await expect(things.cancelled).resolves.toBeUndefined();
  });

  it('tells listeners of the resources they named', async () => {
    const gone = new AbortController();
    const notifications = {
      resourceSubscriptions: ['haproxy://domains/a.example', 'haproxy://certificates'],
    };
    const response = await send('subscriptions/listen', { params: { notifications }, signal: gone.signal });
    const stream = messages(response);
    await expect(stream.next()).resolves.toMatchObject({
      value: { method: 'notifications/subscriptions/acknowledged' },
    });
    const feed = suite.app.get(EventFeed);
    feed.publish({ topic: 'routing', revision: 1, domains: ['b.example', 'a.example'] });
    await expect(stream.next()).resolves.toMatchObject({
      value: { method: 'notifications/resources/updated', params: { uri: 'haproxy://domains/a.example' } },
    });
    feed.publish({ topic: 'certificates' });
    await expect(stream.next()).resolves.toMatchObject({
      value: { params: { uri: 'haproxy://certificates' } },
    });
    gone.abort();
  });

  it.each([
    ['another method than the body', { 'mcp-method': 'tools/list' }],
    ['another tool than the body', { 'mcp-name': 'haproxy_add_thing' }],
    ['another revision than the body', { 'mcp-protocol-version': '2025-11-25' }],
  ])('refuses headers that name %s', async (_, headers) => {
    const params = { name: 'haproxy_list_things', arguments: {} };
    const response = await send('tools/call', { params, headers });
    expect(response.status).toBe(400);
    await expect(response.json()).resolves.toMatchObject({ error: { code: expect.any(Number) as number } });
  });

  it('ends with a listener and a call under way', async () => {
    const other = await startFixture(withTokens);
    const notifications = { resourceSubscriptions: ['haproxy://state'] };
    await send('subscriptions/listen', { params: { notifications }, url: other.url });
    const meta = { progressToken: 1 };
    await send('tools/call', { params: waiting, meta, url: other.url });
    const { cancelled } = other.app.get(ThingsService, { strict: false });
    const started = performance.now();
    await other.stop();
    // Well before the process would end itself (STOP_MS in main.ts), on a busy machine too.
    expect(performance.now() - started).toBeLessThan(20_000);
    await until(() => cancelled.then(() => true));
  });
});
