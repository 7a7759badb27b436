import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { figureOf, median, timed } from '../lib/figures.mjs';
import { haproxies, makeHome, startEmpty } from '../lib/haproxy.mjs';
import { residentMiB, startSuite } from '../lib/suite.mjs';
import { withServices } from '../lib/services.mjs';

const SERVERS = 1000;
const POOLS = 100;
const SETTLE_MS = 3000;
const MAIN = join(import.meta.dirname, '../../dist/main.js');
/** Of a command, in each round. */
const CALLS = 5;

/**
 * Measures the time from the start of the process, HAProxy included, until `/readyz` answers 200, and the memory at rest.
 * The floor of the time is a Node.js that starts and exits, with a HAProxy of as many pools beside it. The reference of
 * the memory is an idle Node.js.
 *
 * Also measures a command against a suite at rest: scripts and completion in a shell start one again and again.
 */
export async function run({ quick }) {
  const { version, path } = haproxies()[0];
  const idle = await idleNodeMiB();
  const sizes = [
    { domains: 1000, rounds: quick ? 1 : 5, start: { value: 1000 }, memory: { value: 120 } },
    { domains: 100_000, rounds: quick ? 1 : 3, start: { value: 3000 } },
  ];
  const results = [];
  const commands = { value: [], floor: [] };
  for (const { domains, rounds, start, memory } of sizes) {
    const samples = { ready: [], floor: [], mib: [] };
    for (let round = 0; round < rounds; round += 1) {
      samples.floor.push(await bareStart(path));
      await withServices(async (keep) => {
        const suite = await keep(startSuite(path, { servers: SERVERS, pools: POOLS, domains }));
        samples.ready.push(suite.readyMs);
        await delay(SETTLE_MS);
        samples.mib.push(await suite.rssMiB());
        if (domains === sizes[0].domains) await measureCommand(suite.settings, commands);
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
  results.push({
    haproxy: version,
    scenario: `command: domains list --json, ${sizes[0].domains} domains`,
    unit: 'ms',
    ...figureOf(commands.value, commands.floor),
    against: 'bare Node',
    target: { value: 150 },
  });
  return results;
}

/** One command and a Node.js that starts and ends, in turn. */
async function measureCommand({ home, api }, { value, floor }) {
  const env = { PATH: process.env.PATH, HAPROXY_HOME: home, MCP_HOST: api.host, MCP_PORT: String(api.port) };
  for (let call = 0; call < CALLS; call += 1) {
    floor.push(await runTime(['-e', '0'], env));
    value.push(await runTime([MAIN, 'domains', 'list', '--json'], env));
  }
}

/** @throws Error if the program fails */
function runTime(args, env) {
  return timed(async () => {
    const child = spawn(process.execPath, args, { env, cwd: '/', stdio: 'ignore' });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`node ${args.join(' ')} ends with ${code}`);
  });
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
