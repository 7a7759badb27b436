import { readdir, readFile, readlink } from 'node:fs/promises';
import { parseSockets, TCP_LISTEN } from '../../lib/machine/proc-net.js';
import { canonicalIp } from '../../model/addresses/ip-address.js';
import type { ConfigSection } from '../config/config-parser.js';
import { type ListenAddress, listenAddresses } from '../config/listen-address.js';

/** A TCP socket that listens, or a UDP socket that receives from anyone, from /proc/net. */
export interface ListeningSocket {
  transport: 'tcp' | 'udp';
  /** As in the link `socket:[inode]` of the process that has the socket (proc_pid_fd(5)). */
  inode: string;
  family: 4 | 6;
  /** A canonical address, `0.0.0.0` or `::`. */
  host: string;
  port: number;
}

/** A `bind` address with the sockets that receive what is sent to it. */
export interface BindUse {
  text: string;
  address: Extract<ListenAddress, { kind: 'port' }>;
  sockets: readonly ListeningSocket[];
}

/** The state of a TCP socket that listens, and TCP_CLOSE of a UDP socket that is not connected (include/net/tcp_states.h). */
const RECEIVES = { tcp: TCP_LISTEN, udp: '07' } as const;

/**
 * The `bind` addresses of the configuration on which another process already listens. Linux lets two HAProxies of one user
 * share a port (SO_REUSEPORT), and each then gets a part of the connections. Leaves out UDP, host names, variables, and
 * addresses of another network namespace.
 */
export async function takenBinds(sections: readonly ConfigSection[]): Promise<string[]> {
  const taken = bindUses(sections, await listeningSockets()).filter(
    ({ address, sockets }) => address.transport === 'tcp' && sockets.length > 0,
  );
  return [...new Set(taken.map(({ text }) => text))];
}

/** The `bind` addresses with a known port, and the sockets of each. Leaves out other network namespaces. Pure. */
export function bindUses(
  sections: readonly ConfigSection[],
  listening: readonly ListeningSocket[],
): BindUse[] {
  return bindLines(sections).flatMap((words) =>
    listenAddresses(words[1] ?? '').flatMap((address): BindUse[] => {
      if (address.kind !== 'port') return [];
      const sockets = listening.filter((socket) => isTaken(address, words.includes('v6only', 2), socket));
      return [{ text: address.text, address, sockets }];
    }),
  );
}

/** The listening sockets of this network namespace. Leaves out what cannot be read. */
export async function listeningSockets(): Promise<ListeningSocket[]> {
  const found = await Promise.all([
    readListening('tcp', 4),
    readListening('tcp', 6),
    readListening('udp', 4),
    readListening('udp', 6),
  ]);
  return found.flat();
}

/** The processes that have these sockets open, by inode (proc_pid_fd(5)). Only root sees those of other users. */
export async function ownersOf(sockets: readonly ListeningSocket[]): Promise<Map<string, number[]>> {
  const wanted = new Set(sockets.map(({ inode }) => inode));
  const found = new Map<string, number[]>();
  if (wanted.size === 0) return found;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids) {
    const folder = `/proc/${pid}/fd`;
    // A process can end while it is read.
    const names = await readdir(folder).catch(() => []);
    const links = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')));
    const inodes = new Set(links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? ''));
    for (const inode of inodes) if (wanted.has(inode)) found.set(inode, [...(found.get(inode) ?? []), pid]);
  }
  return found;
}

function bindLines(sections: readonly ConfigSection[]): (readonly string[])[] {
  return sections
    .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
    .flatMap(({ lines }) => lines.map(({ words }) => words))
    .filter((words) => words[0] === 'bind' && !words.includes('namespace', 2));
}

function isTaken(bind: BindUse['address'], v6only: boolean, socket: ListeningSocket): boolean {
  if (bind.transport !== socket.transport) return false;
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

/** The sockets of one file (proc(5), /proc/net/tcp). Empty if the file cannot be read. */
async function readListening(transport: 'tcp' | 'udp', family: 4 | 6): Promise<ListeningSocket[]> {
  const file = `/proc/net/${transport}${family === 6 ? '6' : ''}`;
  const text = await readFile(file, 'latin1').catch(() => '');
  return parseSockets(text)
    .filter(({ state }) => state === RECEIVES[transport])
    .map(({ inode, host, port }) => ({ transport, inode, family, host, port }));
}
