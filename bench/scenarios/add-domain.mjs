import { open, readFile, rename } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { bareExchange, haproxies, makeHome, startEmpty } from '../lib/haproxy.mjs';
import { percentile, startSuite, timed } from '../lib/suite.mjs';

const ROUNDS = 200;
const SEEDED_POOLS = 100;

/**
 * A domain with a server of its own, one at a time, acknowledged: on disk, fsynced and live. The floor writes and
 * fsyncs the same files, renames them, and gives a bare HAProxy the same commands.
 */
export async function run() {
  const results = [];
  const { version, path } = haproxies()[0];
  const backend = createServer((_, response) => response.end('ok'));
  await new Promise((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const { port } = backend.address();
  let smallest;
  for (const domains of [10, 1000, 10_000, 100_000]) {
    const pools = Math.min(SEEDED_POOLS, domains);
    const suite = await startSuite(path, { servers: pools, pools, domains }, { HAPROXY_POOL_COUNT: '500' });
    const floors = await makeFloor(path, suite.settings);
    try {
      const ms = [];
      const floor = [];
      let misses = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        const domain = `new${round}.example.com`;
        ms.push(
          await timed(() => suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: port })),
        );
        if ((await suite.visit(domain)) !== 200) misses += 1;
        floor.push(await floors.once(round));
      }
      const p50 = percentile(ms, 0.5);
      smallest ??= p50;
      const scenario = `add a domain, ${domains} there`;
      const common = { haproxy: version, unit: 'ms' };
      results.push(
        {
          ...common,
          scenario: `${scenario}: p50`,
          value: p50,
          floor: percentile(floor, 0.5),
          target: domains === 1000 ? { ratio: 2 } : domains === 100_000 ? { value: 10 } : undefined,
        },
        {
          ...common,
          scenario: `${scenario}: p95`,
          value: percentile(ms, 0.95),
          floor: percentile(floor, 0.95),
        },
        {
          ...common,
          scenario: `${scenario}: p99`,
          value: percentile(ms, 0.99),
          floor: percentile(floor, 0.99),
        },
        {
          ...common,
          scenario: `${scenario}: first request missed`,
          unit: 'of 200',
          value: misses,
          target: { value: 0 },
        },
      );
      if (domains === 10_000)
        results.push({
          ...common,
          scenario: 'p50 at 10,000 against 10 domains',
          unit: '×',
          value: p50 / smallest,
          target: { value: 2 },
        });
    } finally {
      await floors.stop();
      await suite.stop();
    }
  }
  backend.close();
  return results;
}

/** The same bytes and the same commands, with nothing of the suite around them. */
async function makeFloor(binary, suiteSettings) {
  const home = await makeHome();
  const haproxy = await startEmpty(binary, home.settings, 500);
  const { files, runtime } = home.settings;
  return {
    once: async (round) => {
      const { servers, map, pools } = suiteSettings.files;
      const texts = await Promise.all([pools, map, servers].map((file) => readFile(file)));
      const folder = dirname(files.servers);
      const started = performance.now();
      await Promise.all(texts.map((text, index) => writeSynced(join(folder, `.floor${index}.tmp`), text)));
      const server = `pool_${round + 1}/pool_${round + 1}_1`;
      await bareExchange(
        runtime.path,
        `prompt\nadd server ${server} 127.0.0.1:9 weight 1 check inter 2s fall 3 rise 2\nenable health ${server}\n` +
          `set server ${server} state ready\nadd map ${files.map} f${round}.example.com pool_${round + 1}\nquit\n`,
      );
      for (const index of texts.keys())
        await rename(join(folder, `.floor${index}.tmp`), join(folder, `floor${index}`));
      const handle = await open(folder, 'r');
      await handle.sync();
      await handle.close();
      return performance.now() - started;
    },
    stop: async () => {
      await haproxy.stop();
      await home.remove();
    },
  };
}

async function writeSynced(path, data) {
  const handle = await open(path, 'w');
  await handle.writeFile(data);
  await handle.sync();
  await handle.close();
}
