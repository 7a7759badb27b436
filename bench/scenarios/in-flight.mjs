import { haproxies } from '../lib/haproxy.mjs';
import { startSuite, timed } from '../lib/suite.mjs';

const IN_FLIGHT = 50;
const CHANGES = 3000;

/** Domains added with 50 requests in flight, and the same change one at a time over REST and over MCP. */
export async function run() {
  const { version, path } = haproxies()[0];
  const suite = await startSuite(path, { servers: 100, pools: 100, domains: 1000 });
  try {
    const share_with = 'd0.p0.example.com';
    let next = 0;
    const client = async () => {
      for (let n = next++; n < CHANGES; n = next++)
        await suite.api('POST', '/domains', { domain: `n${n}.example.com`, share_with });
    };
    const ms = await timed(() => Promise.all(Array.from({ length: IN_FLIGHT }, client)));
    return [
      {
        scenario: `domains added, ${IN_FLIGHT} in flight`,
        haproxy: version,
        unit: 'changes/s',
        value: CHANGES / (ms / 1000),
        target: { least: 2000 },
      },
    ];
  } finally {
    await suite.stop();
  }
}
