import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { SocketAddress } from 'node:net';

/** A socket of this network namespace, as /proc/net/tcp and /proc/net/udp show it (proc_pid_net(5)). */
export interface ProcSocket {
  /** A canonical address, `0.0.0.0` or `::`. An IPv4-mapped address is IPv4. */
  host: string;
  port: number;
  /** Two hexadecimal digits (include/net/tcp_states.h). */
  state: string;
  /** The user that opened the socket. */
  uid: number;
  /** As in the link `socket:[inode]` of the process that has the socket (proc_pid_fd(5)). */
  inode: string;
}

export const TCP_LISTEN = '0A';

/** The sockets in the text of a file of /proc/net. Leaves out the header and lines that are not complete. */
export function parseSockets(text: string): ProcSocket[] {
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state = '', , , , uid, , inode = ''] = line.trim().split(/\s+/);
    const [address, port] = /^((?:[0-9A-F]{8}){1,4}):([0-9A-F]{4})$/.exec(local)?.slice(1) ?? [];
    return address !== undefined && port !== undefined
      ? [{ host: hostOfHex(address), port: Number.parseInt(port, 16), state, uid: Number(uid), inode }]
      : [];
  });
}

/**
 * The TCP sockets of this network namespace that accept a connection to this address. Linux prefers a socket with exactly
 * this address to one with all addresses, and IPv4 to IPv6. Several sockets can have the same address (SO_REUSEPORT). They
 * belong to one user, so the list may lack some of them, but never all.
 */
export function listenersAt(host: string, port: number): ProcSocket[] {
  const isIpv6 = host.includes(':');
  for (const file of isIpv6 ? ['/proc/net/tcp6'] : ['/proc/net/tcp', '/proc/net/tcp6']) {
    const listeners = readListeners(file, host, port);
    const exact = listeners.filter((listener) => listener.host === host);
    const found = exact.length > 0 ? exact : listeners.filter((listener) => ALL.has(listener.host));
    if (found.length > 0) return found;
  }
  return [];
}

/** False for a service with ProcSubset=pid (systemd.exec(5)), for example. Then `listenersAt` finds nothing. */
export function canListSockets(): boolean {
  return existsSync('/proc/net/tcp');
}

const ALL: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** A few lines. For a longer read, Linux looks through the table of connections, which takes milliseconds. */
const CHUNK = 512;

/**
 * The sockets that listen on the port, at least up to the first one with the address. Linux lists them before the
 * connections (Documentation/networking/proc_net_tcp), of which a proxy can have many. Empty if the file cannot be read.
 */
function readListeners(file: string, host: string, port: number): ProcSocket[] {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return [];
  }
  try {
    const chunk = Buffer.alloc(CHUNK);
    const found: ProcSocket[] = [];
    for (let rest = ''; ;) {
      const size = readSync(descriptor, chunk);
      const lines = rest + chunk.toString('latin1', 0, size);
      const end = lines.lastIndexOf('\n');
      rest = lines.slice(end + 1);
      const sockets = parseSockets(lines.slice(0, end + 1));
      const listening = sockets.filter(({ state }) => state === TCP_LISTEN);
      found.push(...listening.filter((socket) => socket.port === port));
      if (size === 0 || listening.length < sockets.length || found.some((socket) => socket.host === host))
        return found;
    }
  } finally {
    closeSync(descriptor);
  }
}

/** /proc/net has each 32 bits of an address in the byte order of the machine; all machines of the suite are little-endian. */
function hostOfHex(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  const { address } = new SocketAddress({ address: groups.join(':'), family: 'ipv6' });
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1] ?? address;
}
