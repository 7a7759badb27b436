import { median } from '../lib/figures.mjs';
import { bareExchange, haproxies, makeHome, startEmpty } from '../lib/haproxy.mjs';
import { openRestored } from '../lib/persistence.mjs';

const ROUNDS = 15;
const SIZE = { servers: 1000, pools: 100, domains: 10_000 };

/**
 * CPU time of one drift check of the suite, files included, while HAProxy matches the desired state. The floor only reads
 * the answers of HAProxy.
 */
export async function run({ quick }) {
  const results = [];
  for (const { version, path } of haproxies()) {
    const home = await makeHome();
    const haproxy = await startEmpty(path, home.settings, SIZE.pools);
    try {
      const { check, close } = await startDriftCheck(home.settings);
      const queries = `prompt\nshow servers state\nshow map ${home.settings.files.map}\nshow backend\nquit\n`;
      const ms = [];
      const floor = [];
      for (let round = 0; round < (quick ? 2 : ROUNDS); round += 1) {
        floor.push(await cpu(() => bareExchange(home.settings.runtime.path, queries)));
        ms.push(await cpu(check));
      }
      await close();
      results.push({
        scenario: `drift check ${SIZE.servers} servers, ${SIZE.domains} domains, ms of CPU`,
        haproxy: version,
        unit: 'ms',
        value: median(ms),
        floor: median(floor),
        target: { value: 100 },
      });
    } finally {
      await haproxy.stop();
      await home.remove();
    }
  }
  return results;
}

/** The drift check of a suite whose HAProxy matches the desired state. */
async function startDriftCheck(settings) {
  const { DriftService } = await import('../../build/sync/drift.service.js');
  const { persistence, reconciler, restores } = await openRestored(settings, SIZE);
  const drift = new DriftService(persistence, reconciler, restores, settings);
  const check = async () => {
    const report = await drift.check();
    if (!report || report.count > 0 || report.healed || report.failure !== undefined)
      throw new Error(`the drift check found drift: ${JSON.stringify(report)}`);
  };
  return { check, close: () => persistence.close() };
}

async function cpu(work) {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
