import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HaproxyRuntimeService } from '../../src/haproxy/haproxy-runtime.service.js';
import { isSameProcess } from '../../src/haproxy/runtime/process-identity.js';
import { renderState } from '../../src/storage/formats/servers-json.js';
import type { Pool } from '../../src/model/state.js';
import { type Backend, startBackend } from '../kit/backend.js';
import { type HaproxyBinary, haproxyVersions } from '../kit/haproxy-versions.js';
import { Load } from '../kit/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/request.js';
import { disagreements } from '../kit/saved-state.js';
import { loadSettings } from '../../src/settings/settings.js';
import { makeHome, Suite } from '../kit/suite.js';
import { FULL, report, scaled } from './scale.js';

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

/** HAProxy is killed once, under load, with that state; how it went. */
async function killOnce(haproxy: HaproxyBinary, backend: Backend, domains: number) {
  const home = await makeHome(haproxy);
  await writeFile(home.file('servers.json'), largeState(backend.port, domains));
  const suite = await Suite.start(home);
  const restores = () => suite.output.split('HAProxy has revision').length;
  try {
    const host = 'd7.p42.example';
    const isServed = async () => (await get(home.httpPort, host)).status === 200;
    await until(isServed);
    const load = new Load(home.httpPort, [{ host, bodies: ['one'] }]);
    await until(() => load.sent > 100);
    const pid = Number((await readFile(join(home.path, 'run/haproxy.pid'), 'utf8')).split('\n')[0]);
    const before = restores();
    const runtime = new HaproxyRuntimeService(loadSettings(home.env));
    const former = await runtime.info();
    const killed = performance.now();
    process.kill(pid, 'SIGKILL');
    // Its worker may serve on for a moment, which is not yet being back.
    const isAnother = async () => !isSameProcess(former, await runtime.info());
    await until(isAnother, { interval: 5, timeout: 60_000, what: 'another HAProxy' });
    await until(isServed, { interval: 5, timeout: 60_000, what: 'service' });
    const back = performance.now();
    await until(() => restores() > before, { interval: 5, timeout: 60_000, what: 'the second restore' });
    await until(isServed, { interval: 5 });
    const full = performance.now();
    const sent = load.sent;
    await until(() => load.sent > sent + 100);
    const { requests, spans } = await load.stop();
    // Under way when it died, or begun before it was back: nothing else may have failed.
    const down = spans.filter(({ from, to }) => to >= killed && from <= back).length;
    const lost = (await disagreements(home)).length;
    return { requests, failed: spans.length - down, lost, down, ms: Math.round(full - killed) };
  } finally {
    await suite.stop();
    await home.remove();
  }
}

describe.each(haproxyVersions())('HAProxy $version is killed', (haproxy: HaproxyBinary) => {
  it('and is back in full service within a second, nothing lost', { timeout: 300_000 }, async () => {
    const one = await startBackend('one');
    try {
      const runs: Awaited<ReturnType<typeof killOnce>>[] = [];
      for (let run = 0; run < scaled(3, 1); run += 1) runs.push(await killOnce(haproxy, one, 10_000));
      const sum = (figure: 'requests' | 'failed' | 'lost' | 'down') =>
        runs.reduce((total, run) => total + run[figure], 0);
      const outcome = { requests: sum('requests'), failed: sum('failed'), lost: sum('lost') };
      const times = runs.map(({ ms }) => ms).toSorted((a, b) => a - b);
      report(haproxy.version, 'HAProxy killed', outcome, {
        'failed while it was down': sum('down'),
        'ms to full service': times.join(' '),
      });
      expect([outcome.failed, outcome.lost]).toEqual([0, 0]);
      // What it takes, not what the machine was busy with beside it: the best of several.
      if (FULL) expect(times[0]).toBeLessThan(1_000);
    } finally {
      await one.close();
    }
  });
});
