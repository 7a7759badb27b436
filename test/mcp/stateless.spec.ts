import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventFeed } from '../../src/signals/event-feed.js';
import { readEventData } from '../../src/mcp/stdio/server-sent-events.js';
import { ADMIN, READER, type Running, startFixture, ThingsService, withTokens } from '../edge/fixture.js';
import { until } from '../kit/poll.js';
import { statelessHeaders, statelessMessage } from './stateless-request.js';

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

interface SendOptions {
  params?: Record<string, unknown>;
  meta?: Record<string, unknown>;
  token?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  url?: string;
}

function send(
  method: string,
  { params = {}, meta = {}, token = ADMIN, headers = {}, signal, url = suite.url }: SendOptions = {},
) {
  return fetch(`${url}/mcp`, {
    method: 'POST',
    headers: { ...statelessHeaders(token, method, params), ...headers },
    body: JSON.stringify(statelessMessage(method, params, { meta })),
    ...(signal && { signal }),
  });
}

async function* readMessages(response: Response): AsyncGenerator<Message> {
  if (response.headers.get('content-type')?.startsWith('text/event-stream'))
    for await (const text of readEventData(response.body!)) yield JSON.parse(text) as Message;
  else yield (await response.json()) as Message;
}

async function allMessages(response: Promise<Response>): Promise<Message[]> {
  const messages: Message[] = [];
  for await (const message of readMessages(await response)) messages.push(message);
  return messages;
}

async function toolsOf(token: string): Promise<{ name: string; annotations: { readOnlyHint: boolean } }[]> {
  const [answer] = await allMessages(send('tools/list', { token }));
  return answer?.result?.['tools'] as never;
}

/** A call that does not end by itself. */
const endlessCall = { name: 'haproxy_wait_things', arguments: { all: true } };

describe('revision 2026-07-28', () => {
  it('answers server/discover without a session', async () => {
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

  it('lists and allows only reading tools for the read-only token', async () => {
    const adminTools = await toolsOf(ADMIN);
    const readerTools = await toolsOf(READER);
    expect(readerTools).toEqual(adminTools.filter(({ annotations }) => annotations.readOnlyHint));
    const params = { name: 'haproxy_clear_things', arguments: {} };
    const [refused] = await allMessages(send('tools/call', { params, token: READER }));
    expect(refused?.result).toMatchObject({ isError: true, structuredContent: { code: 'forbidden' } });
    expect((await send('tools/list', { token: 'wrong-token-0123456789' })).status).toBe(401);
  });

  it('sends progress if the request has a progress token, and log lines from the level in the request', async () => {
    const steps = { name: 'haproxy_wait_things', arguments: { limit: 2 } };
    await expect(allMessages(send('tools/call', { params: steps }))).resolves.toHaveLength(1);
    const messages = await allMessages(send('tools/call', { params: steps, meta: { progressToken: 'p' } }));
    expect(messages.map(({ params }) => params?.['progress'])).toEqual([1, 2, undefined]);
    const broken = { name: 'haproxy_break', arguments: {} };
    const callWithLogLevel = (level: string) =>
      allMessages(
        send('tools/call', { params: broken, meta: { 'io.modelcontextprotocol/logLevel': level } }),
      );
    const [line] = await callWithLogLevel('warning');
    expect(line).toMatchObject({ method: 'notifications/message', params: { level: 'error' } });
    expect(JSON.stringify(line)).not.toContain('secret');
    await expect(callWithLogLevel('critical')).resolves.toHaveLength(1);
  });

  it('cancels a call when its client disconnects', async () => {
    const things = suite.app.get(ThingsService, { strict: false });
    const before = things.cancelled;
    const disconnect = new AbortController();
    const response = await send('tools/call', {
      params: endlessCall,
      meta: { progressToken: 1 },
      signal: disconnect.signal,
    });
    expect(response.status).toBe(200);
    expect(things.cancelled).not.toBe(before);
    disconnect.abort();
    await expect(things.cancelled).resolves.toBeUndefined();
  });

  it('notifies a listen stream only about the resources that it named', async () => {
    const disconnect = new AbortController();
    const notifications = {
      resourceSubscriptions: ['haproxy://domains/a.example', 'haproxy://certificates'],
    };
    const response = await send('subscriptions/listen', {
      params: { notifications },
      signal: disconnect.signal,
    });
    const stream = readMessages(response);
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
    disconnect.abort();
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

  it('shuts down with an open listen stream and a running call', async () => {
    const other = await startFixture(withTokens);
    const notifications = { resourceSubscriptions: ['haproxy://state'] };
    await send('subscriptions/listen', { params: { notifications }, url: other.url });
    const meta = { progressToken: 1 };
    await send('tools/call', { params: endlessCall, meta, url: other.url });
    const { cancelled } = other.app.get(ThingsService, { strict: false });
    const started = performance.now();
    await other.stop();
    // Below the shutdown limit of 30 s in main.ts, even on a busy machine.
    expect(performance.now() - started).toBeLessThan(20_000);
    await until(() => cancelled.then(() => true));
  });
});
