import { readFile } from 'node:fs/promises';
import type { ConfigSection } from '../config/config-parser.js';

interface TcpAddress {
  family: 4 | 6;
  /** Hexadecimal digits, as in /proc/net/tcp; all zeros for every address. */
  address: string;
  port: number;
}

const LISTEN = '0A';
const BIND = /^(?:ipv[46]@)?(?:\*|(?<four>[0-9.]*)|\[?(?<six>[0-9A-Fa-f:]*)\]?):(?<port>\d{1,5})$/;
const NO_PORTS = new Set(['', '*', '0.0.0.0', '::']);

/**
 * The `bind` addresses of the configuration on which another process already listens. Linux lets two HAProxies of one user
 * share a port (SO_REUSEPORT), and each then gets a part of the connections. Ranges, variables and other kinds of sockets
 * are left out.
 */
export async function takenBinds(sections: readonly ConfigSection[]): Promise<string[]> {
  const listening = [...(await readListening('tcp', 4)), ...(await readListening('tcp6', 6))];
  return bindAddresses(sections).filter((text) => {
    const wanted = parseBind(text);
    return wanted && listening.some((other) => isOverlapping(wanted, other));
  });
}

function bindAddresses(sections: readonly ConfigSection[]): string[] {
  const lines = sections
    .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
    .flatMap(({ lines: content }) => content)
    .filter(({ words }) => words[0] === 'bind');
  return [...new Set(lines.flatMap(({ words }) => words[1]?.split(',') ?? []))];
}

function parseBind(text: string): TcpAddress | undefined {
  const groups = BIND.exec(text)?.groups;
  if (!groups) return undefined;
  const port = Number(groups['port']);
  const isSix = text.includes('[') || (groups['six'] ?? '').includes(':');
  const address = (isSix ? groups['six'] : groups['four']) ?? '';
  if (NO_PORTS.has(address)) return { family: isSix ? 6 : 4, address: '0'.repeat(isSix ? 32 : 8), port };
  return isSix ? undefined : { family: 4, address: hexOfIpv4(address), port };
}

/** /proc/net/tcp has the bytes of an IPv4 address in the order of the machine; all machines of the suite are little-endian. */
function hexOfIpv4(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return bytes.toReversed().join('').toUpperCase();
}

function isOverlapping(one: TcpAddress, other: TcpAddress): boolean {
  if (one.port !== other.port || one.family !== other.family) return false;
  return one.address === other.address || /^0+$/.test(one.address) || /^0+$/.test(other.address);
}

/** The listening sockets of this network namespace (proc(5), /proc/net/tcp). Empty if the file cannot be read. */
async function readListening(file: 'tcp' | 'tcp6', family: 4 | 6): Promise<TcpAddress[]> {
  const text = await readFile(`/proc/net/${file}`, 'latin1').catch(() => '');
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [address, port] = local.split(':');
    return state === LISTEN && address !== undefined && port !== undefined
      ? [{ family, address, port: Number.parseInt(port, 16) }]
      : [];
  });
}
