import { stat } from 'node:fs/promises';
import { figureOf, median, timed } from '../lib/figures.mjs';
import { commands, recordOf, startFloor } from '../lib/floor.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { startOrigin, visitUntilServed } from '../lib/http.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';
import { warmUp } from '../lib/warm-up.mjs';

const SEEDED_POOLS = 100;
/** Changes that are not measured, because the first changes load modules and open files. */
const FIRST = 20;
const ACKNOWLEDGED = { 1000: { ratio: 2 }, 100_000: { value: 10 } };

/**
 * Adds domains one at a time, each with a server. Measures the time until the change is acknowledged (fsynced and in
 * HAProxy), and until the first request for the domain is answered through HAProxy ("live"). Measures a suite that has
 * just started, and a suite after the warm-up. The floor writes and fsyncs as many bytes as the suite and sends the same
 * commands to HAProxy; the floor of "live" adds the request.
 */
export async function run({ quick }) {
  const results = [];
  const p50 = new Map();
  for (const domains of quick ? [10, 1000] : [10, 1000, 10_000, 100_000]) {
    const { started, measured } = await measure(domains, quick);
    const scenario = `add a domain, ${domains} there`;
    const common = { haproxy: haproxies()[0].version, unit: 'ms' };
    const acknowledged = figureOf(measured.acknowledged, measured.floor);
    p50.set(domains, acknowledged.value);
    results.push(
      {
        ...common,
        ...figureOf(started.acknowledged, started.floor),
        scenario: `${scenario}: acknowledged, just started`,
      },
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
        unit: `of ${started.live.length + measured.live.length}`,
        scenario: `${scenario}: first request missed`,
        value: started.misses + measured.misses,
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

function measure(domains, quick) {
  return withServices(async (keep) => {
    const { path } = haproxies()[0];
    const { port } = await keep(startOrigin());
    const [few, many] = quick ? [10, 30] : [100, 300];
    const pools = Math.min(SEEDED_POOLS, domains);
    const poolCount = pools + FIRST + few + many;
    const env = { HAPROXY_POOL_COUNT: String(poolCount) };
    const suite = await keep(startSuite(path, { servers: pools, pools, domains }, env));
    const floor = await keep(startFloor(path, poolCount));
    const bench = { suite, floor, port, isLarge: await isLarge(suite) };
    await adds(bench, 1, FIRST);
    const started = await adds(bench, 1 + FIRST, few);
    await warmUp(quick, 2, async (number) => {
      await add(bench, `warm${number}.example.com`);
      await suite.api('DELETE', `/domains/warm${number}.example.com`);
    });
    return { started, measured: await adds(bench, 1 + FIRST + few, many) };
  });
}

async function isLarge({ settings: { files, journalFromBytes } }) {
  return (await stat(files.servers)).size >= journalFromBytes;
}

function add({ suite, port }, domain) {
  return suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: port });
}

/** Measures `rounds` changes of the suite, each followed by the same change of the floor, from pool `first` on. */
async function adds(bench, first, rounds) {
  const measured = { acknowledged: [], live: [], floor: [], floorLive: [], record: [], misses: 0 };
  for (let round = first; round < first + rounds; round += 1) {
    const domain = `new${round}.example.com`;
    const started = performance.now();
    await add(bench, domain);
    const answered = performance.now();
    const { misses, at } = await visitUntilServed(bench.suite.httpPort, domain);
    const bare = await bareAdd(bench, domain, `pool_${round}`);
    measured.misses += misses > 0 ? 1 : 0;
    measured.acknowledged.push(answered - started);
    measured.live.push(at - started);
    measured.floor.push(bare.disk + bare.haproxy);
    measured.floorLive.push(bare.disk + bare.haproxy + bare.visit);
    measured.record.push(bare.record + bare.haproxy);
  }
  return measured;
}

async function bareAdd({ suite, floor, port, isLarge: inPlace }, domain, pool) {
  const { pools, map, servers } = suite.settings.files;
  const recorded = recordOf('haproxy_add_domain', { domain, ip: '127.0.0.1', http_port: port });
  const text = commands.addServer(pool, 1, port) + commands.addDomain(floor.map, domain, pool);
  const record = await floor.record(recorded);
  const disk = inPlace
    ? await floor.inPlace(recorded, `${domain} ${pool}\n`)
    : await floor.wholeFiles([pools, map, servers], recorded);
  const haproxy = await floor.send(text);
  return { record, disk, haproxy, visit: await timed(() => visitUntilServed(floor.httpPort, domain)) };
}
