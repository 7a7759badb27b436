import { median } from '../lib/figures.mjs';
import { cpuOf, haproxies, startConfig, startOriginHaproxy } from '../lib/haproxy.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';
import { loadGenerator } from '../lib/wrk.mjs';

const KINDS = [
  { kind: 'exact', domain: 'www.load.example.com' },
  { kind: 'wildcard', domain: '*.load.example.com' },
];
const HOST = 'www.load.example.com';

/**
 * Requests through HAProxy with 1 and with 100,000 domains, by exact name and by wildcard. The references route one host:
 * `static` is the configuration of the suite with one static `use_backend` instead of the map look-ups; `bare` has only that
 * rule, without X-Forwarded-For, retries and health checks. The three are loaded in turn. The ratio is the median of the
 * ratios of neighbouring runs, so a machine that slows down affects all three. The origin is a HAProxy that answers itself.
 */
export function run({ quick }) {
  return withServices(async (keep) => {
    const { path } = haproxies()[0];
    const wrk = await loadGenerator();
    const origin = await keep(startOriginHaproxy(path));
    const plain = await keep(startConfig(path, (given) => staticConfig(given, origin.httpPort)));
    const bare = await keep(startConfig(path, (given) => bareConfig(given, origin.httpPort)));
    const [rounds, seconds] = quick ? [2, 1] : [6, 2];
    const load = async ({ httpPort, runtime }) => {
      const before = await cpuOf(runtime);
      const { rate, p99, requests } = await wrk.load(httpPort, HOST, seconds);
      return { rate, p99, cpu: (1000 * ((await cpuOf(runtime)) - before)) / requests };
    };
    const results = [];
    for (const domains of quick ? [1, 1000] : [1, 100_000]) {
      for (const { kind, domain } of KINDS) {
        const runs = await withServices(async (keepSuite) => {
          const seeded = { servers: 0, pools: domains > 1 ? 1 : 0, domains: domains - 1 };
          const suite = await keepSuite(startSuite(path, seeded));
          await suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: origin.httpPort });
          const served = { httpPort: suite.httpPort, runtime: suite.settings.runtime };
          return inTurn(rounds, load, { suite: served, plain, bare });
        });
        results.push(...figures(`requests with ${domains} domains, ${kind}`, runs));
      }
    }
    return results;
  });
}

/** Runs A B C, C B A, A B C and so on, so that no proxy is always the first. */
async function inTurn(rounds, load, proxies) {
  const runs = Object.fromEntries(Object.keys(proxies).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    const names = Object.keys(proxies);
    for (const name of round % 2 === 0 ? names : names.toReversed())
      runs[name].push(await load(proxies[name]));
  }
  return runs;
}

function middle(runs, name) {
  return median(runs.map((run) => run[name]));
}

function figures(scenario, { suite, plain, bare }) {
  const common = { haproxy: haproxies()[0].version, against: 'static' };
  const of = (name) => ({
    value: middle(suite, name),
    floor: middle(plain, name),
    also: { bare: middle(bare, name) },
    ratio: median(suite.map((run, round) => run[name] / plain[round][name])),
  });
  return [
    { ...common, scenario, unit: '/s', ...of('rate'), target: { least_ratio: 0.97 } },
    { ...common, scenario: `${scenario}: p99`, unit: 'ms', ...of('p99') },
    { ...common, scenario: `${scenario}: CPU of HAProxy`, unit: 'µs a request', ...of('cpu') },
  ];
}

function bareConfig({ httpPort, template }, origin) {
  return `global
    ${/stats socket .*/.exec(template)[0]}
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend web
    bind 127.0.0.1:${httpPort}
    use_backend one if { req.hdr(host) ${HOST} }
backend one
    server s 127.0.0.1:${origin}
`;
}

/** The suite.cfg and haproxy.cfg of the suite without the map look-ups. */
function staticConfig({ template, rules }, origin) {
  const lookUps = /^ +http-request set-var\(txn\.(?:host|pool|suite_site|suite_name)\).*\n/gm;
  if ((rules.match(lookUps) ?? []).length < 2 || !template.includes('use_backend %['))
    throw new Error('the map look-ups of suite.cfg were not found; change staticConfig');
  const rule = `    use_backend one if { req.hdr(host) ${HOST} }`;
  const text = rules.replace(lookUps, '') + template.replace(/^ +use_backend %\[.*$/m, rule);
  return `${text}\nbackend one from pools\n    server one_1 127.0.0.1:${origin} weight 1 check inter 2s fall 3 rise 2\n`;
}
