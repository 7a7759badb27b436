import { figureOf, median } from '../lib/figures.mjs';
import { commands, recordOf, startFloor } from '../lib/floor.mjs';
import { haproxies, startOriginHaproxy } from '../lib/haproxy.mjs';
import { visitUntilServed } from '../lib/http.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';
import { loadGenerator } from '../lib/wrk.mjs';

const IN_FLIGHT = 50;
const SEEDED_POOLS = 100;
/** Domains added and removed for the warm-up, see warm-up.mjs. */
const WARM_UP = 1500;
/** More pools than the suite can fill in a second of load. */
const POOLS_PER_SECOND = 8000;

/**
 * Like add-domain with 50 requests in flight. wrk sends them, because it needs little CPU time. A second pass requests
 * each domain when it is acknowledged, for the time until it is live. The floor is the best possible group commit: it
 * appends the records of 50 changes with one fsync, and sends the commands of 50 changes on one connection.
 */
export async function run({ quick }) {
  const results = [];
  for (const domains of quick ? [1000] : [10, 1000, 10_000, 100_000]) {
    const [seconds, visited] = quick ? [1, 50] : [2, 500];
    const measured = await measure(domains, seconds, visited);
    const scenario = `add a domain, ${domains} there, ${IN_FLIGHT} in flight`;
    const common = { haproxy: haproxies()[0].version };
    results.push(
      {
        ...common,
        scenario: `${scenario}: changes`,
        unit: '/s',
        value: measured.rate,
        floor: measured.floorRate,
        target: { least: 2000 },
      },
      { ...common, scenario: `${scenario}: acknowledged`, unit: 'ms', ...measured.acknowledged },
      { ...common, scenario: `${scenario}: live`, unit: 'ms', ...figureOf(measured.live) },
      {
        ...common,
        scenario: `${scenario}: first request missed`,
        unit: `of ${visited}`,
        value: measured.misses,
        target: { value: 0 },
      },
    );
  }
  return results;
}

function measure(domains, seconds, visited) {
  return withServices(async (keep) => {
    const { path } = haproxies()[0];
    const wrk = await loadGenerator();
    const { httpPort: port } = await keep(startOriginHaproxy(path));
    const pools = Math.min(SEEDED_POOLS, domains);
    const poolCount = pools + seconds * POOLS_PER_SECOND + visited;
    const env = { HAPROXY_POOL_COUNT: String(poolCount) };
    const suite = await keep(startSuite(path, { servers: pools, pools, domains }, env));
    const add = (domain) => suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: port });

    await inFlight(WARM_UP, async (n) => {
      await add(`w${n}.example.com`);
      await suite.api('DELETE', `/domains/w${n}.example.com`);
    });
    const load = { connections: IN_FLIGHT, seconds, prefix: 'n', port };
    const { rate, acknowledged } = await wrk.addDomains(suite, load);
    const live = [];
    let missed = 0;
    await inFlight(visited, async (n) => {
      const started = performance.now();
      await add(`v${n}.example.com`);
      const { misses, at } = await visitUntilServed(suite.httpPort, `v${n}.example.com`);
      live.push(at - started);
      missed += misses > 0 ? 1 : 0;
    });
    const floorRate = await groupRate(await keep(startFloor(path, poolCount)), port, 2000);
    return { rate, floorRate, acknowledged, live, misses: missed };
  });
}

async function inFlight(count, work) {
  let next = 0;
  const client = async () => {
    for (let n = next++; n < count; n = next++) await work(n);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, client));
}

async function groupRate(floor, port, changes) {
  const ms = [];
  for (let first = 1; first <= changes; first += IN_FLIGHT) {
    const group = Array.from({ length: IN_FLIGHT }, (_, n) => `pool_${first + n}`);
    const records = group.map((pool) =>
      recordOf('haproxy_add_domain', { domain: `${pool}.example.com`, ip: '127.0.0.1', http_port: port }),
    );
    const texts = group.map(
      (pool) =>
        commands.addServer(pool, 1, port) + commands.addDomain(floor.map, `${pool}.example.com`, pool),
    );
    ms.push(await floor.change(records.join(''), texts.join('')));
  }
  return IN_FLIGHT / (median(ms) / 1000);
}
