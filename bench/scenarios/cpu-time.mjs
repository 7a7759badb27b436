import { haproxies } from '../lib/haproxy.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

/**
 * The CPU time of the suite for one change, one after the other, on a state of 10,000 domains. On a busy machine, times and
 * their ratios say little, and this figure can still be compared with that of another version in the same hour.
 */
export async function run({ quick }) {
  const rounds = quick ? 100 : 1500;
  const domains = quick ? 1000 : 10_000;
  const haproxy = haproxies()[0];
  return withServices(async (keep) => {
    const suite = await keep(startSuite(haproxy.path, { servers: 100, pools: 100, domains }));
    const results = [];
    const measure = async (name, count, work) => {
      const before = await suite.cpuMs();
      for (let n = 0; n < count; n += 1) await work(n);
      const value = ((await suite.cpuMs()) - before) / count;
      results.push({ haproxy: haproxy.version, scenario: `CPU time: ${name}`, unit: 'ms', value });
    };
    const add = (kind) => (n) =>
      suite.api(
        'POST',
        '/domains',
        JSON.stringify({ domain: `${kind}${n}.cpu.example.com`, share_with: 'd0.p0.example.com' }),
      );
    for (let n = 0; n < rounds; n += 1) await add('warm')(n);
    await measure('add a domain', rounds, add('new'));
    await measure('change a weight', rounds, (n) =>
      suite.api(
        'PUT',
        '/domains/d0.p1.example.com/servers/1/weight',
        JSON.stringify({ weight: 1 + (n % 99) }),
      ),
    );
    await measure('a page of 50 domains', rounds, () => suite.api('GET', '/domains?limit=50'));
    await measure('remove a domain', rounds, (n) => suite.api('DELETE', `/domains/new${n}.cpu.example.com`));
    const lines = Array.from(
      { length: domains },
      (_, n) => `{"domain":"i${n}.cpu.example.com","share_with":"d0.p${n % 100}.example.com"}\n`,
    ).join('');
    await measure(`import ${domains} domains`, 1, () => suite.import(lines));
    return results;
  });
}
