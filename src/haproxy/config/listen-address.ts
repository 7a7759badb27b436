import { isIPv6, SocketAddress } from 'node:net';
import { listenIp } from '../../model/addresses/forbidden-server.js';

/** One address that HAProxy listens on (configuration manual, "bind" and section 11.1). */
export type ListenAddress = {
  /** As it is written, without the other addresses of a list. */
  text: string;
} & (
  | PortAddress
  /** A unix socket. `abns@name` or `abnsz@name` for an abstract one, which has no file. */
  | { kind: 'path'; path: string }
  /** An inherited file descriptor, an address without a port, or a port in a variable. */
  | { kind: 'unknown'; reason: string; transport: 'tcp' | 'udp' }
);

interface PortAddress {
  kind: 'port';
  transport: 'tcp' | 'udp';
  /** A canonical address, `0.0.0.0` or `::` for every address, a host name, or a text with a variable. */
  host: string;
  /** The first and the last port of a range. */
  first: number;
  last: number;
}

const PREFIX = /^(?:(?<type>stream|dgram|quic)\+)?(?:(?<family>[a-z]+[46]?)@)?(?<rest>.*)$/s;
const IP_FAMILIES: ReadonlySet<string> = new Set(
  'ip ipv4 ipv6 tcp tcp4 tcp6 udp udp4 udp6 quic quic4 quic6 mptcp mptcp4 mptcp6'.split(' '),
);
const PATH_FAMILIES: ReadonlySet<string> = new Set(['unix', 'uxst', 'uxdg']);
const ABSTRACT_FAMILIES: ReadonlySet<string> = new Set(['abns', 'abnsz']);
const PORTS = /^(?<host>.*):(?<first>\d{1,5})(?:-(?<last>\d{1,5}))?$/s;
/** A comma in the default value of a variable, `${A-x,y}`, separates no addresses. */
const SEPARATOR = /,(?![^{]*\})/;

/** Splits and reads the address of a `bind`, `stats socket`, `dgram-bind`, `peer` or `server` line. Pure. */
export function listenAddresses(word: string): ListenAddress[] {
  return word
    .split(SEPARATOR)
    .filter((part) => part !== '')
    .map((text) => ({ text, ...readAddress(text) }));
}

type Unnamed<T> = T extends unknown ? Omit<T, 'text'> : never;

function readAddress(text: string): Unnamed<ListenAddress> {
  const { type, family, rest = '' } = PREFIX.exec(text)?.groups ?? {};
  if (family === undefined ? rest.startsWith('/') : PATH_FAMILIES.has(family))
    return { kind: 'path', path: rest };
  if (family !== undefined && ABSTRACT_FAMILIES.has(family))
    return { kind: 'path', path: `${family}@${rest}` };
  const isUdp = /^(?:udp|quic)/.test(family ?? '') || (type !== undefined && type !== 'stream');
  const transport = isUdp ? 'udp' : 'tcp';
  if (family !== undefined && !IP_FAMILIES.has(family))
    return { kind: 'unknown', reason: 'it is not an IP address', transport };
  const { host = '', first, last = first } = PORTS.exec(rest)?.groups ?? {};
  if (first === undefined)
    return { kind: 'unknown', reason: rest.includes('$') ? VARIABLE : 'its address has no port', transport };
  return {
    kind: 'port',
    transport,
    host: readHost(host, family?.endsWith('6') ?? false),
    first: Number(first),
    last: Number(last),
  };
}

const VARIABLE = 'its address has an environment variable';

/** Why the host of the address is not known here; undefined if it is known. */
export function unknownHost({ host }: PortAddress): string | undefined {
  return host.includes('$') ? VARIABLE : undefined;
}

function readHost(text: string, isIpv6: boolean): string {
  const host = text.replace(/^\[(?<inner>.*)\]$/s, '$<inner>').toLowerCase();
  if (host === '' || host === '*') return isIpv6 ? '::' : '0.0.0.0';
  if (isIPv6(host) && new SocketAddress({ address: host, family: 'ipv6' }).address === '::') return '::';
  return listenIp(host) ?? (host.includes('$') ? text : host);
}

/** The host for a connection from this machine. A listener on all addresses is reached through loopback. */
export function connectHost({ host }: PortAddress): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** Whether a listener on `one` receives connections to `other`, or the kernel cannot bind both. */
export function hostsOverlap(one: string, other: string): boolean {
  if (one === other || isLoopbackName(one, other) || isLoopbackName(other, one)) return true;
  return [
    [one, other],
    [other, one],
  ].some(
    ([wildcard = '', host = '']) => wildcard === '::' || (wildcard === '0.0.0.0' && !host.includes(':')),
  );
}

function isLoopbackName(name: string, host: string): boolean {
  return name === 'localhost' && (host === '127.0.0.1' || host === '::1');
}
