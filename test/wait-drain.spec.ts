import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runtimeCommand } from '../src/haproxy/runtime/command.js';
import { RuntimeTransport } from '../src/haproxy/runtime/transport.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const ADMIN = 'admin-token-0123456789';
const READER = 'reader-token-0123456789';
/** The most calls of one caller that wait at the same time: half of all. */
const SHARE = 128;
/** The timeout of each call. The drain ends long before, on a slow machine too. */
const SECONDS = 600;
/** How long the connections to HAProxy are counted. */
const COUNTED_MS = 2_000;

let home: Home;
let suite: Suite;
let backend: Backend;
let held: Promise<unknown>;

beforeAll(async () => {
  backend = await startBackend('one');
  home = await makeHome(oldestHaproxy());
  await writeFile(home.file('mcp-token.env'), `MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=${READER}\n`, {
    mode: 0o600,
  });
  suite = await Suite.start(home);
  await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: backend.port });
  held = get(home.httpPort, 'a.example', '/held');
  await until(() => backend.count === 1);
  await suite.api('PUT', '/domains/a.example/servers/1/state', { state: 'drain' });
});

afterAll(async () => {
  backend.release('/held');
  await held;
  await suite.stop();
  await backend.close();
  await home.remove();
});

async function wait(token: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${suite.url}/api/v1/domains/a.example/servers/1/wait-drain`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ timeout: SECONDS }),
  });
  return { status: response.status, body: await response.json() };
}

/** The number of connections that HAProxy has accepted, including those to the Runtime API. */
async function acceptedConnections(): Promise<number> {
  const [reply] = await new RuntimeTransport({ path: home.env['HAPROXY_SOCKET']! }).run([
    runtimeCommand`show info`,
  ]);
  return Number(/^CumConns: (\d+)/m.exec(reply?.text ?? '')?.[1]);
}

it('wait-drain > polls HAProxy once for all waiting calls, and refuses calls above the limit of one caller', async () => {
  const admin = await suite.token();
  let refused = 0;
  const waitAndCount = async (token: string) => {
    const answer = await wait(token);
    if (answer.status === 429) refused += 1;
    return answer;
  };
  const waiting = Promise.all([
    ...Array.from({ length: SHARE + 20 }, () => waitAndCount(admin)),
    ...Array.from({ length: 20 }, () => waitAndCount(READER)),
  ]);
  await until(() => refused >= 20, { what: 'the refusal of the calls above the limit' });
  const [before, since] = [await acceptedConnections(), performance.now()];
  await delay(COUNTED_MS);
  const connections = (await acceptedConnections()) - before;
  const seconds = (performance.now() - since) / 1000;
  backend.release('/held');
  const all = await waiting;
  const statuses = all.map(({ status }) => status);
  expect(statuses.slice(0, -20).filter((status) => status === 429)).toHaveLength(20);
  expect(new Set(statuses.slice(-20))).toEqual(new Set([200]));
  expect(all.find(({ status }) => status === 429)?.body).toMatchObject({
    status: 429,
    code: 'too_many_waiting',
    detail: expect.stringContaining('Too many calls wait for servers') as string,
  });
  // Without batches, each call would make four connections a second. The suite itself makes a few more.
  expect(connections / seconds).toBeLessThan(100);
  // The quota is free again.
  expect((await wait(admin)).status).toBe(200);
});
