import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderState } from '../../src/persistence/state-json.js';
import type { Pool } from '../../src/persistence/state.js';
import { startBackend } from '../kit/backend.js';
import { type HaproxyBinary, haproxyVersions } from '../kit/haproxy-versions.js';
import { Load } from '../kit/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/request.js';
import { disagreements } from '../kit/saved-state.js';
import { makeHome, Suite } from '../kit/suite.js';
import { report, scaled } from './scale.js';

/** 100 pools × 10 servers (those of the last slots drained, which the files alone cannot say) and 10,000 domains. */
function largeState(port: number, domains: number): string {
  const pools = Array.from({ length: 100 }, (_, p): [string, Pool] => {
    const names = Array.from({ length: domains / 100 }, (__, d) => `d${d}.p${p}.example`);
    const servers = Array.from({ length: 10 }, (__, s) => {
      const state = s === 9 ? ('drain' as const) : ('ready' as const);
      return [s + 1, { ip: '127.0.0.1', http_port: port, weight: 1, state }] as const;
    });
    return [`pool_${p + 1}`, { domains: names, servers: new Map(servers) }];
  });
  return renderState(1, pools);
}

describe.each(haproxyVersions())('HAProxy $version is killed', (haproxy: HaproxyBinary) => {
  it('and is back in full service within a second, nothing lost', { timeout: 120_000 }, async () => {
    const one = await startBackend('one');
    const home = await makeHome(haproxy);
    await writeFile(home.file('servers.json'), largeState(one.port, scaled(10_000, 10_000)));
    const suite = await Suite.start(home);
    try {
      const host = 'd7.p42.example';
      await until(async () => (await get(home.httpPort, host)).status === 200);
      const load = new Load(home.httpPort, [{ host, bodies: ['one'] }]);
      await until(() => load.sent > 100);
      const pid = Number((await readFile(join(home.path, 'run/haproxy.pid'), 'utf8')).split('\n')[0]);
      const killed = performance.now();
      process.kill(pid, 'SIGKILL');
      await until(() => suite.output.split('put right').length > 2, {
        interval: 5,
        what: 'the second restore',
      });
      await until(async () => (await get(home.httpPort, host)).status === 200, { interval: 5 });
      const full_service_ms = Math.round(performance.now() - killed);
      const before = load.sent;
      await until(() => load.sent > before + 100);
      const { requests, failed, failing_ms } = await load.stop();
      const lost = (await disagreements(home)).length;
      report(haproxy.version, 'HAProxy killed', { requests, failed, failing_ms, full_service_ms, lost });
      expect(lost).toBe(0);
      // What failed did so in one stretch, while HAProxy was down.
      expect(failing_ms).toBeLessThan(full_service_ms + 1000);
    } finally {
      await suite.stop();
      await one.close();
      await home.remove();
    }
  });
});
