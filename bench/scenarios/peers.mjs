import { figureOf } from '../lib/figures.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { startOrigin, visitUntilServed } from '../lib/http.mjs';
import { PEERS } from '../lib/peers.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';
import { warmUp } from '../lib/warm-up.mjs';

const ROUTES = 300;
/** Rounds at the start of each block that are not measured. */
const FIRST = 5;
/** The peers take turns in blocks of rounds, because Caddy continues to work for a while after its answer. */
const BLOCKS = 4;
/** The targets of issue 6: peer → figure → target. */
const TARGETS = {
  Caddy: { acknowledged: { ratio: 0.25 }, live: { ratio: 0.25 } },
  'configurable-http-proxy': { live: { ratio: 1 } },
};

/**
 * Adds hosts one at a time to 300 existing hosts. Measures the time until a host is acknowledged, and until it is served.
 * The suite and the peers get the same work. Contenders that run on V8 are warmed up first.
 */
export function run({ quick }) {
  return withServices(async (keep) => {
    const { version, path } = haproxies()[0];
    const { port } = await keep(startOrigin());
    const roundsPerBlock = quick ? 5 : 25;
    const contenders = { suite: await keep(startContender(path, port, BLOCKS * (roundsPerBlock + FIRST))) };
    const results = [];
    const hosts = Array.from({ length: ROUTES }, (_, n) => `d${n}.example.com`);
    for (const [name, start] of Object.entries(PEERS)) {
      try {
        contenders[name] = await keep(start(port, hosts));
      } catch (error) {
        results.push({ scenario: `${name}: add a host`, skipped: error.message.slice(0, 80) });
      }
    }
    const samples = Object.fromEntries(
      Object.keys(contenders).map((name) => [name, { acknowledged: [], live: [] }]),
    );
    for (const { add, remove } of Object.values(contenders))
      if (remove)
        await warmUp(quick, 2, async () => {
          await add('warm.example.com');
          await remove('warm.example.com');
        });
    for (let block = 0; block < BLOCKS; block += 1) {
      for (const [name, contender] of Object.entries(contenders)) {
        for (let round = -FIRST; round < roundsPerBlock; round += 1) {
          const host = `new${block}-${round + FIRST}.example.com`;
          const { acknowledged, live } = await addOne(contender, host);
          if (round < 0) continue;
          samples[name].acknowledged.push(acknowledged);
          samples[name].live.push(live);
        }
      }
    }
    for (const name of Object.keys(contenders).filter((other) => other !== 'suite')) {
      for (const figure of ['acknowledged', 'live']) {
        const measured = figureOf(samples.suite[figure], samples[name][figure]);
        results.push({
          scenario: `suite: add a host, ${ROUTES} there: ${figure}`,
          haproxy: version,
          unit: 'ms',
          ...measured,
          also: { 'its p95': measured.floor_p95 },
          against: `${name} ${contenders[name].version}`,
          target: TARGETS[name][figure],
        });
      }
    }
    return results;
  });
}

async function startContender(path, port, adds) {
  const size = { servers: ROUTES, pools: ROUTES, domains: ROUTES };
  const suite = await startSuite(path, size, { HAPROXY_POOL_COUNT: String(ROUTES + adds) });
  const add = (domain) => suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: port });
  const remove = (domain) => suite.api('DELETE', `/domains/${domain}`);
  return { httpPort: suite.httpPort, add, remove, stop: suite.stop };
}

async function addOne({ httpPort, add }, host) {
  const started = performance.now();
  await add(host);
  const acknowledged = performance.now() - started;
  return { acknowledged, live: (await visitUntilServed(httpPort, host)).at - started };
}
