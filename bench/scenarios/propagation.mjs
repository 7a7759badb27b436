import { startClients } from '../lib/clients.mjs';
import { figureOf } from '../lib/figures.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { startOrigin, visitUntilServed } from '../lib/http.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const OTHERS = 100;

/**
 * Measures the time from the answer to "add a domain" until the first successful request for the domain, while 100 other
 * changes are always in flight. The reference is a request at the same moment for a domain that already existed.
 */
export function run({ quick }) {
  return withServices(async (keep) => {
    const { version, path } = haproxies()[0];
    const rounds = quick ? 20 : 200;
    const { port } = await keep(startOrigin());
    const size = { servers: OTHERS, pools: OTHERS, domains: 1000 };
    const suite = await keep(startSuite(path, size, { HAPROXY_POOL_COUNT: String(2 * OTHERS + rounds + 1) }));
    const server = { ip: '127.0.0.1', http_port: port };
    await suite.api('POST', '/domains', { domain: 'old.example.com', ...server });
    let changes = 0;
    let refused = 0;
    const change = async (...request) => {
      changes += 1;
      const done = await suite.api(...request).catch(() => undefined);
      refused += done ? 0 : 1;
      return done !== undefined;
    };
    // Each client changes a weight, adds its own domain and removes it, in a loop.
    const others = await keep(
      startClients(OTHERS, async (n, number) => {
        const path = `/domains/other${n}.example.com`;
        const weight = 1 + (number % 100);
        await change('PUT', `/domains/d0.p${n}.example.com/servers/1/weight`, { weight });
        await change('PUT', path, server);
        await change('DELETE', path);
      }),
    );
    const measured = { first: [], old: [], acknowledged: [], misses: 0 };
    for (let round = 0; round < rounds; round += 1) {
      const domain = `new${round}.example.com`;
      const started = performance.now();
      if (!(await change('POST', '/domains', { domain, ...server }))) continue;
      const answered = performance.now();
      const { misses, at } = await visitUntilServed(suite.httpPort, domain);
      measured.misses += misses > 0 ? 1 : 0;
      measured.acknowledged.push(answered - started);
      measured.first.push(at - answered);
      const requested = performance.now();
      measured.old.push((await visitUntilServed(suite.httpPort, 'old.example.com')).at - requested);
    }
    others.check();
    const scenario = `propagation while ${OTHERS} others change`;
    const common = { haproxy: version, unit: 'ms' };
    return [
      {
        ...common,
        scenario: `${scenario}: from the answer to the first success`,
        ...figureOf(measured.first, measured.old),
        against: 'old domain',
      },
      {
        ...common,
        scenario: `${scenario}: first request missed`,
        unit: `of ${measured.first.length}`,
        value: measured.misses,
        target: { value: 0 },
      },
      { ...common, scenario: `${scenario}: acknowledged`, ...figureOf(measured.acknowledged) },
      {
        ...common,
        scenario: `${scenario}: changes refused`,
        unit: `of ${changes}`,
        value: refused,
        target: { value: 0 },
      },
    ];
  });
}
