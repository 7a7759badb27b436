import { isIPv4 } from 'node:net';
import { canonicalIp } from './ip-address.js';

/** TCP addresses and ports that a program of this installation listens on. */
export interface Listener {
  /** The program and where it is configured, for messages: `the Runtime API of HAProxy (haproxy.cfg, line 11)`. */
  name: string;
  firstPort: number;
  lastPort: number;
  /** Canonical addresses, or the families of which it covers every address of this machine. */
  on: { addresses: readonly string[] } | { families: readonly (4 | 6)[] };
}

/** What listens in this installation, and which addresses this machine has. */
export interface ListenerFacts {
  /** Ports from which HAProxy or the suite is controlled: a client that can send bytes to one is an administrator. */
  controls: readonly Listener[];
  /** The binds of HAProxy whose requests are routed by the domain map. */
  routing: readonly Listener[];
  /** Whether a connection to this canonical address reaches this machine. */
  isLocal: (ip: string) => boolean;
}

export interface ForbiddenServer {
  code: 'server_is_control' | 'server_is_haproxy';
  listener: Listener;
}

/**
 * Why a server may not have this address and port; undefined if it may. Pure. `ip` is canonical.
 *
 * A control port is forbidden on every address of this machine, also on addresses that it does not listen on now: the
 * next start may listen there. A routing bind is forbidden only on the addresses that it covers, because another program
 * can have the same port on another address.
 */
export function forbiddenServer(ip: string, port: number, facts: ListenerFacts): ForbiddenServer | undefined {
  for (const listener of facts.controls)
    if (
      hasPort(listener, port) &&
      addressesReachedBy(ip).some((one) => isOn(listener, one) || facts.isLocal(one))
    )
      return { code: 'server_is_control', listener };
  for (const listener of facts.routing)
    if (hasPort(listener, port) && addressesReachedBy(ip).some((one) => covers(listener, one, facts)))
      return { code: 'server_is_haproxy', listener };
  return undefined;
}

function hasPort({ firstPort, lastPort }: Listener, port: number): boolean {
  return firstPort <= port && port <= lastPort;
}

function isOn({ on }: Listener, ip: string): boolean {
  return 'addresses' in on && on.addresses.includes(ip);
}

/** Whether a connection to the address reaches this bind. */
export function covers(listener: Listener, ip: string, { isLocal }: Pick<ListenerFacts, 'isLocal'>): boolean {
  const { on } = listener;
  if ('addresses' in on) return on.addresses.includes(ip);
  return on.families.includes(isIPv4(ip) ? 4 : 6) && isLocal(ip);
}

/** Prefixes of IPv6 addresses that hold an IPv4 address, with the position of its first group of 16 bits. */
const IPV4_IN_IPV6: readonly { prefix: readonly number[]; at: number }[] = [
  // IPv4-compatible (RFC 4291, 2.5.5.1).
  { prefix: [0, 0, 0, 0, 0, 0], at: 6 },
  // IPv4-mapped. canonicalIp has already converted these.
  { prefix: [0, 0, 0, 0, 0, 0xffff], at: 6 },
  // IPv4-translated (RFC 2765).
  { prefix: [0, 0, 0, 0, 0xffff, 0], at: 6 },
  // NAT64 (RFC 6052) and its prefix for local use (RFC 8215).
  { prefix: [0x64, 0xff9b, 0, 0, 0, 0], at: 6 },
  { prefix: [0x64, 0xff9b, 1], at: 6 },
  // 6to4 (RFC 3056).
  { prefix: [0x2002], at: 1 },
];

/** The address itself, and the IPv4 address that an IPv6 address holds: a translator can deliver it there. */
export function addressesReachedBy(ip: string): string[] {
  if (isIPv4(ip)) return [ip];
  const groups = groupsOf(ip);
  const held = IPV4_IN_IPV6.filter(({ prefix }) =>
    prefix.every((group, index) => groups[index] === group),
  ).map(({ at }) => ipv4Of(groups[at] ?? 0, groups[at + 1] ?? 0));
  return [ip, ...held];
}

function ipv4Of(high: number, low: number): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/** The eight groups of a canonical IPv6 address. */
function groupsOf(ip: string): number[] {
  // The canonical form can end with a dotted IPv4 address.
  const hex = ip.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = '', tail] = hex.split('::');
  if (tail === undefined) return parseGroups(head);
  const [before, after] = [parseGroups(head), parseGroups(tail)];
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => 0);
  return [...before, ...zeros, ...after];
}

function parseGroups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

/** The canonical form of an address that a program listens on; `undefined` for a name, 0.0.0.0 and ::. */
export function listenIp(text: string): string | undefined {
  return canonicalIp(text.replace(/^\[|\]$/g, '').split('%', 1)[0] ?? '');
}
