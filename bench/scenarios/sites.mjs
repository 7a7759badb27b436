import { readFile } from 'node:fs/promises';
import { median } from '../lib/figures.mjs';
import { cpuOf, haproxies, startConfig, startOriginHaproxy } from '../lib/haproxy.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';
import { loadGenerator } from '../lib/wrk.mjs';

const HOST = 'www.load.example.com';

/** Each with the answer of the origin, so that the cost of a request can be compared. */
const OPTIONS = {
  none: {},
  noindex: { noindex: true },
  hsts: { hsts_max_age: 600 },
  deny: { deny: ['192.0.2.0/24'] },
  allow: { allow: ['127.0.0.0/8', '::/0'] },
  rate_limit: { rate_limit: { requests: 1_000_000, window_seconds: 1 } },
  maintenance: { maintenance: { page: 'x'.repeat(1000), except: ['127.0.0.0/8'] } },
};
const ALL = Object.assign({}, ...Object.values(OPTIONS));

/**
 * The CPU time of HAProxy for a request to a site without options, with each option and with all, beside the same HAProxy
 * with the rules of before site options (`without`). Both have the same domains, and are loaded in turn.
 */
export function run({ quick }) {
  return withServices(async (keep) => {
    const { path, version } = haproxies()[0];
    const wrk = await loadGenerator();
    const origin = await keep(startOriginHaproxy(path));
    const [rounds, seconds] = quick ? [2, 1] : [6, 2];
    const cpu = async ({ httpPort, runtime }) => {
      const before = await cpuOf(runtime);
      const { requests } = await wrk.load(httpPort, HOST, seconds);
      return (1000 * ((await cpuOf(runtime)) - before)) / requests;
    };
    const results = [];
    for (const domains of quick ? [1, 1000] : [1, 100_000])
      await withServices(async (keepHere) => {
        const seeded = { servers: 0, pools: domains > 1 ? 1 : 0, domains: domains - 1 };
        const suite = await keepHere(startSuite(path, seeded));
        await suite.api('POST', '/domains', { domain: HOST, ip: '127.0.0.1', http_port: origin.httpPort });
        const { map, pools } = suite.settings.files;
        const poolsText = await readFile(pools, 'utf8');
        const without = await keepHere(
          startConfig(path, ({ template, rules }) => `${formerRules(rules, map)}${template}\n${poolsText}`),
        );
        const now = { httpPort: suite.httpPort, runtime: suite.settings.runtime };
        for (const [name, site] of Object.entries(
          domains === 1 ? { ...OPTIONS, all: ALL } : { none: {}, all: ALL },
        )) {
          await suite.api('PUT', `/domains/${HOST}/site`, { site });
          const runs = [];
          for (let round = 0; round < rounds; round += 1) {
            const order = round % 2 === 0 ? [now, without] : [without, now];
            const [one, other] = [await cpu(order[0]), await cpu(order[1])];
            runs.push(round % 2 === 0 ? { now: one, without: other } : { now: other, without: one });
          }
          results.push({
            scenario: `request with ${domains} domains, options: ${name}`,
            unit: 'µs CPU of HAProxy',
            haproxy: version,
            against: 'without',
            value: median(runs.map((each) => each.now)),
            floor: median(runs.map((each) => each.without)),
            ratio: median(runs.map((each) => each.now / each.without)),
            ...(name === 'none' && { target: { ratio: 1.05 } }),
          });
        }
      });
    return results;
  });
}

/** suite.cfg without the rules of site options, with the look-ups that it had before. */
function formerRules(rules, map) {
  const own = /map_str\((\S*\/domains\.map)\)/.exec(rules)[1];
  const tables = /^# The clients of sites with rate_limit\.[^]*?(?=^# A section of the next file)/m;
  const lines = rules
    .replace(tables, '')
    .split('\n')
    .filter((line) => !/txn\.suite_(?!scheme|port)|\bsuite_(?:deny|allow|except)\b/.test(line));
  const at = lines.findIndex((line) => line.includes('set-var(txn.pool) var(txn.host),map_str('));
  if (at < 0 || lines.length === rules.split('\n').length)
    throw new Error('the rules of site options were not found; change formerRules');
  lines.splice(
    at + 1,
    0,
    `    http-request set-var(txn.pool) var(txn.host),regsub(^[^.]*,),map_str(${own}) unless { var(txn.pool) -m found } || { var(txn.host) -m beg . }`,
  );
  return lines.join('\n').replaceAll(own, map);
}
