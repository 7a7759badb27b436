import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { LoggerService } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventFeed } from '../../src/signals/event-feed.js';
import { until } from '../kit/poll.js';
import { ADMIN, READER, type Running, startFixture, withTokens } from './fixture.js';

/** The streams that one caller may have: half of all. */
const SHARE = 128;
const HEADERS = {
  authorization: `Bearer ${ADMIN}`,
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
};
/** Long names, so that each change sends much data. */
const DOMAINS = Array.from({ length: 500 }, (_, at) => `${`${'a'.repeat(60)}.`.repeat(3)}d${at}.example`);
const URIS = DOMAINS.map((domain) => `haproxy://domains/${domain}`);

let suite: Running;
const warnings: string[] = [];
beforeAll(async () => {
  const ignore = () => undefined;
  const logger: LoggerService = {
    log: ignore,
    error: ignore,
    warn: (message: unknown) => {
      // The comparison with HAProxy warns every 30 s, because no HAProxy runs here.
      if (!String(message).startsWith('The suite cannot compare HAProxy')) warnings.push(String(message));
    },
  };
  suite = await startFixture({ ...withTokens, logger });
});
afterAll(() => suite.stop());

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};
const LISTEN_HEADERS = {
  ...HEADERS,
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'subscriptions/listen',
};

function listenBody(resourceSubscriptions: readonly string[]): string {
  const params = { notifications: { resourceSubscriptions }, _meta: META };
  return JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'subscriptions/listen', params });
}

/** Sends a request, reads the first bytes of the response, and then stops reading. */
async function openUnread(method: string, headers: Record<string, string>, body = ''): Promise<Socket> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const socket = connect({ host: '127.0.0.1', port: suite.port });
  // The suite is expected to break the connection.
  socket.on('error', () => undefined);
  socket.write(`${method} /mcp HTTP/1.1\r\nhost: 127.0.0.1:${suite.port}\r\n${lines.join('')}`);
  socket.write(`content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  const [first] = (await once(socket, 'data')) as [Buffer];
  socket.pause();
  expect(first.toString()).toMatch(/^HTTP\/1\.1 200 /);
  return socket;
}

/** Opens a session with a stream that the client does not read. */
async function openSession(): Promise<Socket> {
  const send = async (headers: Record<string, string>, method: string, params: object) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    const response = await fetch(`${suite.url}/mcp`, {
      method: 'POST',
      headers: { ...HEADERS, ...headers },
      body,
    });
    await response.text();
    return response.headers.get('mcp-session-id') ?? '';
  };
  const session = await send({}, 'initialize', {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'test', version: '1' },
  });
  await Promise.all(URIS.map((uri) => send({ 'mcp-session-id': session }, 'resources/subscribe', { uri })));
  return openUnread('GET', { ...HEADERS, 'mcp-session-id': session });
}

describe('a stream that its client does not read', () => {
  it.each([
    ['of a session', openSession],
    ['of subscriptions/listen', () => openUnread('POST', LISTEN_HEADERS, listenBody(URIS))],
  ])(
    '%s is closed when too much data waits for the client, and a warning is logged',
    async (_, open) => {
      warnings.length = 0;
      const socket = await open();
      const feed = suite.app.get(EventFeed);
      let revision = 0;
      await until(
        () => {
          feed.publish({ topic: 'routing', revision: (revision += 1), domains: DOMAINS });
          return warnings.length > 0;
        },
        { timeout: 60_000, what: 'the end of the stream' },
      );
      expect(warnings).toEqual([
        expect.stringContaining('The MCP stream of admin was closed, because the client does not read it'),
      ]);
      const closed = once(socket, 'close');
      socket.resume();
      await closed;
    },
    180_000,
  );
});

it('subscriptions/listen > gives one caller at most half of the streams', async () => {
  const gone = new AbortController();
  // Keeps the responses: fetch closes the stream of a response that is garbage-collected.
  const held: Response[] = [];
  const listen = async (token: string) => {
    const response = await fetch(`${suite.url}/mcp`, {
      method: 'POST',
      headers: { ...LISTEN_HEADERS, authorization: `Bearer ${token}` },
      body: listenBody(['haproxy://state']),
      signal: gone.signal,
    });
    held.push(response);
    return response.headers.get('content-type')?.startsWith('text/event-stream') ? 'listens' : response;
  };
  const opened = await Promise.all(Array.from({ length: SHARE }, () => listen(READER)));
  expect(new Set(opened)).toEqual(new Set(['listens']));
  const refused = (await listen(READER)) as Response;
  await expect(refused.json()).resolves.toMatchObject({
    id: 7,
    error: { code: -32_603, message: expect.stringContaining('Too many streams') as string },
  });
  await expect(listen(ADMIN)).resolves.toBe('listens');
  expect(held).toHaveLength(SHARE + 2);
  gone.abort();
  // After the streams are closed, the caller can open new ones.
  const again = new AbortController();
  await until(async () => {
    const response = await fetch(`${suite.url}/mcp`, {
      method: 'POST',
      headers: { ...LISTEN_HEADERS, authorization: `Bearer ${READER}` },
      body: listenBody(['haproxy://state']),
      signal: again.signal,
    });
    return response.headers.get('content-type') === 'text/event-stream';
  });
  again.abort();
}, 180_000);
