import { stat } from 'node:fs/promises';
import { figureOf, median, timed } from '../lib/figures.mjs';
import { commands, recordOf, startFloor } from '../lib/floor.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { startOrigin, visitUntilServed } from '../lib/http.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const SEEDED_POOLS = 100;
/** Changes before the ones that count: a process that has just started is slower. */
const WARM_UP = 20;
const ACKNOWLEDGED = { 1000: { ratio: 2 }, 100_000: { value: 10 } };

/**
 * A domain with a server of its own, one at a time: until it is acknowledged (on disk, fsynced and in HAProxy), and
 * until the first request for it has been answered through HAProxy. The floor writes and fsyncs the bytes that the suite
 * writes at that size, and gives a bare HAProxy the same commands; that of the time to live adds the request.
 */
export async function run({ quick }) {
  const results = [];
  const rounds = quick ? 30 : 300;
  const p50 = new Map();
  for (const domains of quick ? [10, 1000] : [10, 1000, 10_000, 100_000]) {
    const measured = await measure(domains, rounds);
    const scenario = `add a domain, ${domains} there`;
    const common = { haproxy: haproxies()[0].version, unit: 'ms' };
    const acknowledged = figureOf(measured.acknowledged, measured.floor);
    p50.set(domains, acknowledged.value);
    results.push(
      {
        ...common,
        ...acknowledged,
        scenario: `${scenario}: acknowledged`,
        also: { 'one record': median(measured.record) },
        target: ACKNOWLEDGED[domains],
      },
      { ...common, ...figureOf(measured.live, measured.floorLive), scenario: `${scenario}: live` },
      {
        ...common,
        unit: `of ${rounds}`,
        scenario: `${scenario}: first request missed`,
        value: measured.misses,
        target: { value: 0 },
      },
    );
  }
  if (!quick)
    results.push({
      scenario: 'add a domain, acknowledged p50 at 10,000 there against 10',
      haproxy: haproxies()[0].version,
      unit: '×',
      value: p50.get(10_000) / p50.get(10),
      target: { value: 2 },
    });
  return results;
}

function measure(domains, rounds) {
  return withServices(async (keep) => {
    const { path } = haproxies()[0];
    const { port } = await keep(startOrigin());
    const pools = Math.min(SEEDED_POOLS, domains);
    const poolCount = pools + WARM_UP + rounds;
    const env = { HAPROXY_POOL_COUNT: String(poolCount) };
    const suite = await keep(startSuite(path, { servers: pools, pools, domains }, env));
    const floor = await keep(startFloor(path, poolCount));
    const { files, journalFromBytes } = suite.settings;
    const isLarge = (await stat(files.servers)).size >= journalFromBytes;
    const measured = { acknowledged: [], live: [], floor: [], floorLive: [], record: [], misses: 0 };
    for (let round = 1; round <= WARM_UP + rounds; round += 1) {
      const counts = round > WARM_UP;
      const added = { domain: `new${round}.example.com`, ip: '127.0.0.1', http_port: port };
      const started = performance.now();
      await suite.api('POST', '/domains', added);
      const answered = performance.now();
      const { misses, at } = await visitUntilServed(suite.httpPort, added.domain);

      const pool = `pool_${round}`;
      const recorded = recordOf('haproxy_add_domain', added);
      const record = await floor.record(recorded);
      const disk = isLarge
        ? await floor.inPlace(recorded, `${added.domain} ${pool}\n`)
        : await floor.wholeFiles([files.pools, files.map, files.servers], recorded);
      const text = commands.addServer(pool, 1, port) + commands.addDomain(floor.map, added.domain, pool);
      const haproxy = await floor.send(text);
      const visit = await timed(() => visitUntilServed(floor.httpPort, added.domain));
      if (!counts) continue;
      measured.misses += misses > 0 ? 1 : 0;
      measured.acknowledged.push(answered - started);
      measured.live.push(at - started);
      measured.floor.push(disk + haproxy);
      measured.floorLive.push(disk + haproxy + visit);
      measured.record.push(record + haproxy);
    }
    return measured;
  });
}
