import { commands, recordOf, startFloor } from '../lib/floor.mjs';
import { timed } from '../lib/figures.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { startOrigin, visitUntilServed } from '../lib/http.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const POOLS = 100;

/**
 * Imports domains with `POST /api/v1/import`, as lines of JSON, into an empty suite: 100 pools with a server each. The
 * floor writes and fsyncs the resulting files once and sends the same commands to HAProxy.
 */
export async function run({ quick }) {
  const results = [];
  for (const domains of quick ? [1000] : [10_000, 100_000]) {
    const { value, floor, missed, peakMiB, restMiB } = await measure(domains);
    const common = { haproxy: haproxies()[0].version };
    results.push(
      { ...common, scenario: `import ${domains} domains`, unit: 'ms', value, floor },
      {
        ...common,
        scenario: `import ${domains} domains: rate`,
        unit: 'domains/s',
        value: domains / (value / 1000),
      },
      {
        ...common,
        scenario: `import ${domains} domains: first request missed`,
        unit: `of ${POOLS}`,
        value: missed,
        target: { value: 0 },
      },
      {
        ...common,
        scenario: `import ${domains} domains: most memory while it lasts`,
        unit: 'MiB',
        value: peakMiB,
        floor: restMiB,
        against: 'before it',
      },
    );
  }
  return results;
}

const name = (n) => `i${n}.example.com`;
const pool = (n) => `pool_${(n % POOLS) + 1}`;

function measure(domains) {
  return withServices(async (keep) => {
    const { path } = haproxies()[0];
    const { port } = await keep(startOrigin());
    const suite = await keep(startSuite(path, { servers: 0, pools: 0, domains: 0 }));
    const floor = await keep(startFloor(path, POOLS));
    const records = Array.from({ length: domains }, (_, n) =>
      n < POOLS
        ? { domain: name(n), ip: '127.0.0.1', http_port: port }
        : { domain: name(n), share_with: name(n % POOLS) },
    );
    const lines = records.map((record) => `${JSON.stringify(record)}\n`).join('');
    const restMiB = await suite.rssMiB();
    const value = await timed(() => suite.import(lines));
    const peakMiB = await suite.peakMiB();
    let missed = 0;
    for (let n = 0; n < POOLS; n += 1) {
      const last = domains - 1 - n;
      missed += (await visitUntilServed(suite.httpPort, name(last))).misses > 0 ? 1 : 0;
    }

    const servers = Array.from({ length: POOLS }, (_, n) => commands.addServer(pool(n), 1, port));
    const pairs = records.map(({ domain }, n) => [domain, pool(n)]);
    const text = servers.join('') + commands.addDomains(floor.map, pairs);
    const { files } = suite.settings;
    const recorded = recordOf('haproxy_import', { domains });
    const disk = await floor.wholeFiles([files.pools, files.map, files.servers], recorded);
    return { value, floor: disk + (await floor.send(text)), missed, peakMiB, restMiB };
  });
}
