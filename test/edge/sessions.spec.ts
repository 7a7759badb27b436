import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, vi } from 'vitest';
import { MAX_SESSIONS, SessionStore } from '../../src/mcp/sessions/session-store.js';
import { scaled } from '../chaos/scale.js';
import { ADMIN, READER, type Running, startFixture, withTokens } from './fixture.js';
import { until } from '../kit/poll.js';

const HEADERS = {
  authorization: `Bearer ${ADMIN}`,
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
};
const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
});
const PING = JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'ping' });

async function begin({ url }: Running, token = ADMIN): Promise<{ status: number; id: string }> {
  const headers = { ...HEADERS, authorization: `Bearer ${token}` };
  const response = await fetch(`${url}/mcp`, { method: 'POST', headers, body: INITIALIZE });
  await response.text();
  return { status: response.status, id: response.headers.get('mcp-session-id') ?? '' };
}

async function send({ url }: Running, id: string): Promise<Response> {
  const headers = { ...HEADERS, 'mcp-session-id': id };
  const response = await fetch(`${url}/mcp`, { method: 'POST', headers, body: PING });
  await response.text();
  return response;
}

/** Bytes in use after garbage collections. Objects with a finalizer need a second one, in a later turn. */
async function heapUsed(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let round = 0; round < 3; round += 1) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed;
}

/** In the short form too, the sessions after the first 500 take 16 MB if none is evicted. */
const ABANDONED = scaled(10_000, 2_500);

it('SessionStore > keeps no memory of thousands of abandoned sessions and still answers', async () => {
  const suite = await startFixture(withTokens);
  const open = async () => (await begin(suite)).status;
  let few = 0;
  for (let opened = 0; opened < ABANDONED; opened += 50) {
    expect(new Set(await Promise.all(Array.from({ length: 50 }, open)))).toEqual(new Set([200]));
    if (opened === 500) few = await heapUsed();
  }
  // A session takes about ten kilobytes. On a busy machine, closed connections and their buffers go a little later.
  await until(async () => (await heapUsed()) - few < 10 * 1024 * 1024, {
    timeout: 30_000,
    interval: 500,
    what: 'the memory of the abandoned sessions being free',
  });
  expect(suite.app.get(SessionStore, { strict: false }).size).toBeLessThanOrEqual(MAX_SESSIONS);
  expect((await send(suite, (await begin(suite)).id)).status).toBe(200);
  await suite.stop();
}, 600_000);

it('SessionStore > evicts sessions of the caller that opens too many, not of others', async () => {
  const suite = await startFixture(withTokens);
  const { id } = await begin(suite);
  for (let opened = 0; opened < MAX_SESSIONS * 1.5; opened += 32)
    await Promise.all(Array.from({ length: 32 }, () => begin(suite, READER)));
  expect((await send(suite, id)).status).toBe(200);
  await suite.stop();
}, 600_000);

it('SessionStore > closes a session after half an hour without use, unless a client has an open stream', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
  const other = await startFixture(withTokens);
  try {
    const sessions = other.app.get(SessionStore, { strict: false });
    const [left, listening] = [(await begin(other)).id, (await begin(other)).id];
    const gone = new AbortController();
    const stream = await fetch(`${other.url}/mcp`, {
      headers: { ...HEADERS, 'mcp-session-id': listening },
      signal: gone.signal,
    });
    expect(stream.status).toBe(200);
    vi.advanceTimersByTime(29 * 60_000);
    expect(sessions.size).toBe(2);
    vi.advanceTimersByTime(3 * 60_000);
    expect(sessions.size).toBe(1);
    expect((await send(other, left)).status).toBe(404);
    expect((await send(other, listening)).status).toBe(200);
    gone.abort();
  } finally {
    vi.useRealTimers();
    await other.stop();
  }
});
