import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { Load } from '../kit/traffic/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/traffic/request.js';
import { disagreements } from '../kit/suite/saved-state.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';
import { report, scaled } from './scale.js';

const TIMEOUT = 600_000;
/** Requests that a scenario needs at least to be meaningful. */
const MIN_REQUESTS = 500;

describe.each(haproxyVersions())('no request fails with HAProxy $version', ({ version, path }) => {
  let home: Home;
  let suite: Suite;
  let backends: Backend[];
  let load: Load;

  const server = (n: number) => ({ ip: '127.0.0.1', http_port: backends[n % backends.length]?.port });
  /** Calls the API and expects this status. */
  const must = async (status: number, method: string, route: string, body?: unknown) => {
    const answer = await suite.api(method, route, body);
    expect([answer.status, method, route], JSON.stringify(answer.body)).toEqual([status, method, route]);
    return answer.body;
  };
  const finish = async (scenario: string, lost: number, figures: Record<string, number>) => {
    await until(() => load.sent >= MIN_REQUESTS, { timeout: 60_000, what: 'enough requests' });
    const { requests, failed, failures } = await load.stop();
    const different = (await disagreements(home)).length;
    report(version, scenario, { requests, failed, lost: lost + different }, figures);
    expect([failures, lost, different]).toEqual([[], 0, 0]);
  };

  beforeAll(async () => {
    backends = await Promise.all(['one', 'two', 'three'].map((name) => startBackend(name)));
    home = await makeHome({ version, path });
    suite = await Suite.start(home);
    await must(201, 'POST', '/domains', { domain: 'still.example', ...server(0) });
    await must(201, 'POST', '/domains', { domain: 'moving.example', ...server(0) });
    await must(201, 'POST', '/domains/moving.example/servers', { slot: 2, ...server(1) });
  });

  beforeEach(() => {
    load = new Load(home.httpPort, [
      { host: 'still.example', bodies: ['one'] },
      { host: 'moving.example', bodies: ['one', 'two', 'three'] },
    ]);
  });

  afterEach(() => load.stop());

  afterAll(async () => {
    await suite.stop();
    await Promise.all(backends.map((backend) => backend.close()));
    await home.remove();
  });

  it(
    'while domains are added and removed, and a new domain answers its first request',
    { timeout: TIMEOUT },
    async () => {
      const count = scaled(500, 20);
      /** The domains that exist at the same time. */
      const kept = scaled(20, 5);
      let lost = 0;
      for (let n = 0; n < count; n += 1) {
        await must(201, 'POST', '/domains', { domain: `d${n}.example`, ...server(n) });
        if ((await get(home.httpPort, `d${n}.example`)).status !== 200) lost += 1;
        if (n >= kept) await must(200, 'DELETE', `/domains/d${n - kept}.example`);
      }
      await finish('domains added and removed', lost, { domains: count });
    },
  );

  it('while servers are added, drained and removed', { timeout: TIMEOUT }, async () => {
    // The loop below does the same every 20 times.
    const count = scaled(500, 20);
    for (let n = 0; n < count; n += 1) {
      const slot = 3 + (n % 5);
      await must(201, 'POST', '/domains/moving.example/servers', { slot, ...server(n) });
      await must(200, 'PUT', `/domains/moving.example/servers/${slot}/weight`, { weight: 1 + (n % 256) });
      await must(200, 'PUT', `/domains/moving.example/servers/${1 + (n % 2)}/state`, {
        state: n % 4 < 2 ? 'drain' : 'ready',
      });
      await must(200, 'PUT', `/domains/moving.example/servers/${2 - (n % 2)}/state`, { state: 'ready' });
      await must(200, 'PUT', `/domains/moving.example/servers/${slot}/state`, { state: 'drain' });
      await must(200, 'DELETE', `/domains/moving.example/servers/${slot}`);
    }
    await finish('servers added, drained and removed', 0, { servers: count });
  });

  it('while the suite is killed and started again', { timeout: TIMEOUT }, async () => {
    const count = scaled(20, 2);
    let lost = 0;
    for (let n = 0; n < count; n += 1) {
      await must(201, 'POST', '/domains', { domain: `k${n}.example`, ...server(n) });
      await suite.kill();
      if ((await get(home.httpPort, `k${n}.example`)).status !== 200) lost += 1;
      suite = await Suite.start(home);
    }
    const { body } = await suite.api<{ total: number }>('GET', '/domains?search=k');
    lost += count - body.total;
    await finish('suite killed and started', lost, { kills: count });
  });

  it('while HAProxy is reloaded', { timeout: TIMEOUT }, async () => {
    const count = scaled(20, 2);
    let lost = 0;
    for (let n = 0; n < count; n += 1) {
      await must(201, 'POST', '/domains', { domain: `r${n}.example`, ...server(n) });
      const body = await must(200, 'POST', '/configuration/reload');
      expect(body['reloaded']).toBe(true);
      if ((await get(home.httpPort, `r${n}.example`)).status !== 200) lost += 1;
      await must(200, 'PUT', '/domains/moving.example/servers/1/weight', { weight: 1 + (n % 10) });
    }
    await finish('reloads', lost, { reloads: count });
  });
});
