import { haproxies } from '../lib/haproxy.mjs';
import { startSuite } from '../lib/suite.mjs';

/** From the start of the process, HAProxy included, until `/readyz` says yes; and the memory it then takes. */
export async function run() {
  const results = [];
  const { version, path } = haproxies()[0];
  for (const { domains, target, memory } of [
    { domains: 1000, target: { value: 1000 }, memory: { value: 120 } },
    { domains: 100_000, target: { value: 3000 } },
  ]) {
    const suite = await startSuite(path, { servers: 1000, pools: 100, domains });
    try {
      results.push(
        {
          scenario: `start until ready, ${domains} domains`,
          haproxy: version,
          unit: 'ms',
          value: suite.readyMs,
          target,
        },
        {
          scenario: `memory at rest, ${domains} domains`,
          haproxy: version,
          unit: 'MiB',
          value: await suite.rssMiB(),
          target: memory,
        },
      );
    } finally {
      await suite.stop();
    }
  }
  return results;
}
