import { appendFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runtimeCommand } from '../src/haproxy/runtime/command.js';
import { RuntimeTransport } from '../src/haproxy/runtime/transport.js';
import { type Backend, startBackend } from './kit/backend.js';
import { oldestHaproxy } from './kit/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/request.js';
import { type Home, makeHome, Suite } from './kit/suite.js';

const READER = 'reader-token-0123456789';
/** Half of the places, which is what one caller can have. */
const SHARE = 128;
/** Longer than any machine takes until all of them wait; what they wait for ends before. */
const SECONDS = 600;
/** How long looks are counted. */
const COUNTED_MS = 2_000;

let home: Home;
let suite: Suite;
let backend: Backend;
let held: Promise<unknown>;

beforeAll(async () => {
  backend = await startBackend('one');
  home = await makeHome(oldestHaproxy());
  suite = await Suite.start(home);
  await suite.stop();
  await appendFile(home.file('mcp-token.env'), `MCP_READONLY_TOKEN=${READER}\n`);
  suite = await Suite.start(home);
  await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: backend.port });
  held = get(home.httpPort, 'a.example', '/held');
  await until(() => backend.count === 1);
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

/** Connections that HAProxy has had, those of the Runtime API among them. */
async function connectionsSoFar(): Promise<number> {
  const [reply] = await new RuntimeTransport({ path: home.env['HAPROXY_SOCKET']! }).run([
    runtimeCommand`show info`,
  ]);
  return Number(/^CumConns: (\d+)/m.exec(reply?.text ?? '')?.[1]);
}

it('looks once for all who wait, and has only so many wait, of one caller only half', async () => {
  const admin = await suite.token();
  let refused = 0;
  const waitAndCount = async (token: string) => {
    const answer = await wait(token);
    if (answer.status === 503) refused += 1;
    return answer;
  };
  const waiting = Promise.all([
    ...Array.from({ length: SHARE + 20 }, () => waitAndCount(admin)),
    ...Array.from({ length: 20 }, () => waitAndCount(READER)),
  ]);
  await until(() => refused >= 20, { what: 'as many being refused as there is no place for' });
  const [before, since] = [await connectionsSoFar(), performance.now()];
  await delay(COUNTED_MS);
  const looks = (await connectionsSoFar()) - before;
  const seconds = (performance.now() - since) / 1000;
  backend.release('/held');
  const all = await waiting;
  const statuses = all.map(({ status }) => status);
  expect(statuses.slice(0, -20).filter((status) => status === 503)).toHaveLength(20);
  expect(new Set(statuses.slice(-20))).toEqual(new Set([200]));
  expect(all.find(({ status }) => status === 503)?.body).toMatchObject({
    code: 'haproxy_unavailable',
    detail: expect.stringContaining('Too many wait for servers') as string,
  });
  // Each by itself, they would make four a second and waiter. The suite's own looks are in the margin.
  expect(looks / seconds).toBeLessThan(100);
  // Their places are free again.
  expect((await wait(admin)).status).toBe(200);
});
