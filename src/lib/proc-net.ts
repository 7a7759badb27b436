import { closeSync, openSync, readSync } from 'node:fs';
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
 * The TCP sockets that listen in this network namespace. Linux lists them before the connections
 * (Documentation/networking/proc_net_tcp), so this reads only the start of the files: a proxy can have many connections.
 */
export function tcpListeners(): ProcSocket[] {
  return ['/proc/net/tcp', '/proc/net/tcp6']
    .flatMap((file) => parseSockets(readListening(file)))
    .filter(({ state }) => state === TCP_LISTEN);
}

/** The text of the file up to the first connection. Empty if the file cannot be read. */
function readListening(file: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return '';
  }
  try {
    const chunk = Buffer.alloc(65_536);
    for (let text = ''; ;) {
      const size = readSync(descriptor, chunk);
      text += chunk.toString('latin1', 0, size);
      const last = parseSockets(text.slice(text.lastIndexOf('\n', text.length - 2) + 1))[0];
      if (size === 0 || (last && last.state !== TCP_LISTEN)) return text;
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
