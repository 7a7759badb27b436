import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below the ports that the kernel gives to outgoing connections and to listeners on port 0: a port that is free now is
 * still free when it is used, and while the suite that has it is killed and started again.
 */
const [LOWEST, HIGHEST] = [12_000, 32_000];
/** Test files that run side by side take from shares of their own. */
const SHARES = 8;
const SHARE = Number(process.env['VITEST_POOL_ID'] ?? 0) % SHARES;

const given = new Set<number>();

/** A TCP port on loopback that nothing listens on now; never the same one twice in this process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST / SHARES, HIGHEST / SHARES) * SHARES + SHARE;
    if (given.has(port)) continue;
    // Before it is tried, so that nobody who asks at the same time gets it too.
    given.add(port);
    if (await canListen(port)) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
