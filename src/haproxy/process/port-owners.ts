import { readFile } from 'node:fs/promises';
import { canonicalIp } from '../../model/ip-address.js';
import type { ConfigSection } from '../config/config-parser.js';
import { type ListenAddress, listenAddresses } from '../config/listen-address.js';

/** A TCP socket that listens, from /proc/net. */
interface ListeningSocket {
  family: 4 | 6;
  /** A canonical address, `0.0.0.0` or `::`. */
  host: string;
  port: number;
}

const LISTEN = '0A';

/**
 * The `bind` addresses of the configuration on which another process already listens. Linux lets two HAProxies of one user
 * share a port (SO_REUSEPORT), and each then gets a part of the connections. Leaves out UDP, host names, variables, and
 * addresses of another network namespace.
 */
export async function takenBinds(sections: readonly ConfigSection[]): Promise<string[]> {
  const listening = [...(await readListening('tcp', 4)), ...(await readListening('tcp6', 6))];
  const taken = bindLines(sections).flatMap((words) =>
    listenAddresses(words[1] ?? '')
      .filter((bind) => listening.some((socket) => isTaken(bind, words.includes('v6only', 2), socket)))
      .map(({ text }) => text),
  );
  return [...new Set(taken)];
}

function bindLines(sections: readonly ConfigSection[]): (readonly string[])[] {
  return sections
    .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
    .flatMap(({ lines }) => lines.map(({ words }) => words))
    .filter((words) => words[0] === 'bind' && !words.includes('namespace', 2));
}

function isTaken(bind: ListenAddress, v6only: boolean, socket: ListeningSocket): boolean {
  if (bind.kind !== 'port' || bind.transport === 'udp') return false;
  if (socket.port < bind.first || socket.port > bind.last) return false;
  if (bind.host === '::') return socket.family === 6 || !v6only;
  if (bind.host === '0.0.0.0') return socket.family === 4;
  return bind.host === socket.host || isEveryAddress(socket, bind.host);
}

/** Whether the socket listens on all addresses of the family of this host. /proc does not show IPV6_V6ONLY. */
function isEveryAddress(socket: ListeningSocket, host: string): boolean {
  if (canonicalIp(host) === undefined) return false;
  return socket.host === (host.includes(':') ? '::' : '0.0.0.0');
}

/** The listening sockets of this network namespace (proc(5), /proc/net/tcp). Empty if the file cannot be read. */
async function readListening(file: 'tcp' | 'tcp6', family: 4 | 6): Promise<ListeningSocket[]> {
  const text = await readFile(`/proc/net/${file}`, 'latin1').catch(() => '');
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [address, port] = local.split(':');
    return state === LISTEN && address !== undefined && port !== undefined
      ? [{ family, host: hostOfHex(address), port: Number.parseInt(port, 16) }]
      : [];
  });
}

/** /proc/net has each 32 bits of an address in the byte order of the machine; all machines of the suite are little-endian. */
function hostOfHex(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return canonicalIp(groups.join(':')) ?? '::';
}
