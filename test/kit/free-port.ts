import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/**
 * None of the ports that the kernel gives to outgoing connections and to listeners on port 0: a port that is free now is
 * still free when it is used, and while the suite that has it is killed and started again.
 */
const [LOWEST, HIGHEST] = outside(outgoingPorts());
/** Test files that run side by side take from shares of their own. */
const SHARES = 8;
const SHARE = Number(process.env['VITEST_POOL_ID'] ?? 0) % SHARES;

const given = new Set<number>();

/** A TCP port on loopback that nothing listens on now; never the same one twice in this process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(Math.ceil(LOWEST / SHARES), Math.floor(HIGHEST / SHARES)) * SHARES + SHARE;
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

/** 32768 to 60999, unless somebody has set it otherwise; gVisor begins at 16000. */
function outgoingPorts(): [first: number, last: number] {
  try {
    const [first = 0, last = 0] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
      .trim()
      .split(/\s+/)
      .map(Number);
    return [first, last];
  } catch {
    return [32_768, 60_999];
  }
}

/** Enough ports that are not of these; where nearly all are, as good as any. */
function outside([first, last]: [number, number]): [lowest: number, highest: number] {
  if (first >= 15_000) return [12_000, Math.min(first, 32_000)];
  return last < 62_000 ? [62_000, 65_000] : [12_000, 32_000];
}
