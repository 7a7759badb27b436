import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/**
 * A range outside of the ephemeral ports, which the kernel gives to outgoing connections and to listeners on port 0. So
 * a free port stays free until it is used, also while a suite restarts.
 */
const [LOWEST, HIGHEST] = outside(ephemeralPorts());
/** Test files that run at the same time take ports from different shares. */
const SHARES = 8;
const SHARE = Number(process.env['VITEST_POOL_ID'] ?? 0) % SHARES;

const given = new Set<number>();

/** A free TCP port on loopback. Never returns the same port twice in this process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(Math.ceil(LOWEST / SHARES), Math.floor(HIGHEST / SHARES)) * SHARES + SHARE;
    if (given.has(port)) continue;
    // Added before the check, so that a concurrent call does not get the same port.
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

/** By default 32768 to 60999. The range of gVisor starts at 16000. */
function ephemeralPorts(): [first: number, last: number] {
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

/** A range with enough ports outside of the given one. If the given one has nearly all ports, they overlap. */
function outside([first, last]: [number, number]): [lowest: number, highest: number] {
  if (first >= 15_000) return [12_000, Math.min(first, 32_000)];
  return last < 62_000 ? [62_000, 65_000] : [12_000, 32_000];
}
