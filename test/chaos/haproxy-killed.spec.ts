import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HaproxyRuntimeService } from '../../src/haproxy/haproxy-runtime.service.js';
import { isSameProcess } from '../../src/haproxy/runtime/process-identity.js';
import { renderState } from '../../src/storage/formats/servers-json.js';
import type { Pool } from '../../src/model/state.js';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { type HaproxyBinary, haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { Load } from '../kit/traffic/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/traffic/request.js';
import { disagreements } from '../kit/suite/saved-state.js';
import { loadSettings } from '../../src/settings/settings.js';
import { makeHome, Suite } from '../kit/suite/suite.js';
import { FULL, report, scaled } from './scale.js';

/** 100 pools with 10 servers each. The last server of each pool is in drain, a state that pools.cfg cannot express. */
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

/** Kills HAProxy once under load, with the large state, and measures the failures and the time to full service. */
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
    const restoresBefore = restores();
    const runtime = new HaproxyRuntimeService(loadSettings(home.env));
    const previous = await runtime.info();
    const killedAt = performance.now();
    process.kill(pid, 'SIGKILL');
    // The old worker may still serve for a moment, so wait for another process.
    const isReplaced = async () => !isSameProcess(previous, await runtime.info());
    await until(isReplaced, { interval: 5, timeout: 60_000, what: 'another HAProxy' });
    await until(isServed, { interval: 5, timeout: 60_000, what: 'service' });
    const servedAt = performance.now();
    await until(() => restores() > restoresBefore, {
      interval: 5,
      timeout: 60_000,
      what: 'the second restore',
    });
    await until(isServed, { interval: 5 });
    const restoredAt = performance.now();
    const sent = load.sent;
    await until(() => load.sent > sent + 100);
    const { requests, spans } = await load.stop();
    // Requests that overlap the outage may fail. No other request may fail.
    const down = spans.filter(({ from, to }) => to >= killedAt && from <= servedAt).length;
    const lost = (await disagreements(home)).length;
    return { requests, failed: spans.length - down, lost, down, ms: Math.round(restoredAt - killedAt) };
  } finally {
    await suite.stop();
    await home.remove();
  }
}

describe.each(haproxyVersions())('HAProxy $version after kill -9', (haproxy: HaproxyBinary) => {
  it('is in full service within a second and loses no state', { timeout: 300_000 }, async () => {
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
      // The best of several runs, because the machine may be busy during the others.
      if (FULL) expect(times[0]).toBeLessThan(1_000);
    } finally {
      await one.close();
    }
  });
});
