import 'reflect-metadata';
import { median } from '../lib/figures.mjs';
import { bareExchange, haproxies, makeHome, startEmpty } from '../lib/haproxy.mjs';
import { makeState } from '../lib/state.mjs';

const ROUNDS = 5;
const CASES = [
  { servers: 1000, pools: 100, domains: 100 },
  { servers: 1000, pools: 100, domains: 10_000 },
  { servers: 1000, pools: 100, domains: 100_000 },
];

/** Restores a state into an empty HAProxy. The floor sends the same commands through a socket. */
export async function run({ quick }) {
  const results = [];
  for (const { version, path } of haproxies()) {
    for (const size of quick ? CASES.slice(0, 1) : CASES) {
      const ms = [];
      const floor = [];
      for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
        floor.push(await onEmptyHaproxy(path, size, bare));
        ms.push(await onEmptyHaproxy(path, size, suite));
      }
      results.push({
        scenario: `restore ${size.servers} servers, ${size.domains} domains`,
        haproxy: version,
        unit: 'ms',
        value: median(ms),
        floor: median(floor),
        target: { ratio: 1.3 },
      });
    }
  }
  return results;
}

async function onEmptyHaproxy(binary, size, work) {
  const home = await makeHome();
  const haproxy = await startEmpty(binary, home.settings, size.pools);
  try {
    return await work(home.settings, await makeState(size));
  } finally {
    await haproxy.stop();
    await home.remove();
  }
}

async function suite(settings, state) {
  const { Logger } = await import('@nestjs/common');
  Logger.overrideLogger(false);
  const { HaproxyRuntimeService } = await import('../../build/haproxy/haproxy-runtime.service.js');
  const { ReconcilerService } = await import('../../build/reconciler/reconciler.service.js');
  const { OperatorConfig } = await import('../../build/haproxy/config/operator-config.js');
  const { ServerGuard } = await import('../../build/haproxy/guard/server-guard.service.js');
  const operatorConfig = new OperatorConfig(settings);
  const guard = new ServerGuard(settings, operatorConfig);
  const reconciler = new ReconcilerService(
    new HaproxyRuntimeService(settings),
    settings,
    operatorConfig,
    guard,
  );
  const started = performance.now();
  await reconciler.restore(state, await reconciler.read(state));
  return performance.now() - started;
}

/** Measures HAProxy and the socket only: the commands are built before the time starts. */
async function bare(settings, state) {
  const { plan } = await import('../../build/reconciler/plan.js');
  const { commandBatches } = await import('../../build/haproxy/runtime/step-commands.js');
  const empty = { domains: new Map(), pools: new Map() };
  const rounds = [...commandBatches(plan(empty, state.routing()), settings.files.map)];
  const queries = `prompt\nshow servers state\nshow map ${settings.files.map}\nshow backend\nquit\n`;
  const texts = rounds.map(
    ({ commands }) => `prompt\n${[...commands].map(({ command }) => command.text).join('')}quit\n`,
  );
  const started = performance.now();
  for (const text of [queries, ...texts]) await bareExchange(settings.runtime.path, text);
  return performance.now() - started;
}
