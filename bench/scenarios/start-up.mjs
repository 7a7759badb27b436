import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { figureOf, median, timed } from '../lib/figures.mjs';
import { haproxies, makeHome, startEmpty } from '../lib/haproxy.mjs';
import { residentMiB, startSuite } from '../lib/suite.mjs';
import { withServices } from '../lib/services.mjs';

const SERVERS = 1000;
const POOLS = 100;
const SETTLE_MS = 3000;

/**
 * Measures the time from the start of the process, HAProxy included, until `/readyz` answers 200, and the memory at rest.
 * The floor of the time is a Node.js that starts and exits, with a HAProxy of as many pools beside it. The reference of
 * the memory is an idle Node.js.
 */
export async function run({ quick }) {
  const { version, path } = haproxies()[0];
  const idle = await idleNodeMiB();
  const sizes = [
    { domains: 1000, rounds: quick ? 1 : 5, start: { value: 1000 }, memory: { value: 120 } },
    { domains: 100_000, rounds: quick ? 1 : 3, start: { value: 3000 } },
  ];
  const results = [];
  for (const { domains, rounds, start, memory } of sizes) {
    const samples = { ready: [], floor: [], mib: [] };
    for (let round = 0; round < rounds; round += 1) {
      samples.floor.push(await bareStart(path));
      await withServices(async (keep) => {
        const suite = await keep(startSuite(path, { servers: SERVERS, pools: POOLS, domains }));
        samples.ready.push(suite.readyMs);
        await delay(SETTLE_MS);
        samples.mib.push(await suite.rssMiB());
      });
    }
    const { value, floor } = figureOf(samples.ready, samples.floor);
    const common = { haproxy: version };
    results.push(
      {
        ...common,
        scenario: `start until ready, ${domains} domains`,
        unit: 'ms',
        value,
        floor,
        target: start,
      },
      {
        ...common,
        scenario: `memory at rest, ${domains} domains`,
        unit: 'MiB',
        value: median(samples.mib),
        floor: idle,
        against: 'idle Node',
        target: memory,
      },
    );
  }
  return results;
}

async function bareStart(binary) {
  const home = await makeHome();
  const started = performance.now();
  const node = timed(() => once(spawn(process.execPath, ['-e', '0']), 'exit'));
  const haproxy = await startEmpty(binary, home.settings, POOLS);
  await node;
  const ms = performance.now() - started;
  await haproxy.stop();
  await home.remove();
  return ms;
}

async function idleNodeMiB() {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000); console.log("up")']);
  await once(child.stdout, 'data');
  const mib = await residentMiB(child.pid);
  child.kill('SIGKILL');
  return mib;
}
