import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';

/** Discard (RFC 863). No packet is sent to it. */
const PORT = 9;

/**
 * The address from which this machine sends to `ip`, so it tells through which interface the answers of a connection
 * leave. Undefined if there is no route. Sends nothing: connecting a UDP socket only asks the kernel.
 */
export async function sourceAddressFor(ip: string): Promise<string | undefined> {
  const socket = createSocket(isIPv6(ip) ? 'udp6' : 'udp4');
  try {
    return await new Promise<string | undefined>((resolve) => {
      socket.once('error', () => resolve(undefined));
      socket.connect(PORT, ip, (error?: Error) =>
        resolve(error === undefined ? socket.address().address : undefined),
      );
    });
  } finally {
    socket.close();
  }
}

/** The interfaces that lead to the internet over IPv4. Empty where the kernel is not Linux. */
export async function defaultRouteInterfaces(): Promise<ReadonlySet<string>> {
  const text = await readFile('/proc/self/net/route', 'latin1').catch(() => '');
  return parseDefaultRoutes(text);
}

/** `eth0 00000000 010011AC 0003 0 0 0 00000000 …`: interface, destination, gateway, flags, …, mask. Pure. */
function parseDefaultRoutes(text: string): ReadonlySet<string> {
  const rows = text.split('\n').map((line) => line.split(/\s+/));
  return new Set(
    rows
      .filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000')
      .map(([name = '']) => name),
  );
}
