import { canonicalIp } from '../../model/ip-address.js';

/** An address that HAProxy listens on (configuration manual, "bind"). */
export type ListenAddress =
  | { kind: 'path'; path: string }
  | {
      kind: 'port';
      transport: 'tcp' | 'udp';
      /** A canonical address, `0.0.0.0`, `::` or a host name. */
      host: string;
      /** The first and the last port of a range. */
      first: number;
      last: number;
    }
  /** A variable, an inherited file descriptor or another form whose address the text does not tell. */
  | { kind: 'unknown' };

const PREFIX =
  /^(?<family>(?:tcp|udp|quic|mptcp|ipv|unix|uxst|uxdg|abns|abnsz|fd|sockpair|rhttp|vsock|stream|dgram)[46]?(?:\+[a-z0-9]+)?)@/;

/** Splits the address of `bind`, `stats socket` or `dgram-bind`, which may be a list with commas. Pure. */
export function listenAddresses(word: string): ListenAddress[] {
  return word
    .split(',')
    .filter((part) => part !== '')
    .map((part) => listenAddress(part));
}

function listenAddress(text: string): ListenAddress {
  if (text.includes('$')) return { kind: 'unknown' };
  const family = PREFIX.exec(text)?.groups?.['family'] ?? '';
  const address = family === '' ? text : text.slice(family.length + 1);
  if (/^(?:unix|uxst|uxdg)/.test(family) || (family === '' && address.startsWith('/')))
    return { kind: 'path', path: address };
  if (/^(?:abns|fd|sockpair|rhttp|vsock)/.test(family) || /^[a-z0-9+]+@/.test(address))
    return { kind: 'unknown' };
  const match = /^(?<host>.*):(?<first>\d{1,5})(?:-(?<last>\d{1,5}))?$/.exec(address);
  if (!match?.groups) return { kind: 'unknown' };
  const first = Number(match.groups['first']);
  return {
    kind: 'port',
    transport: /^(?:quic|udp|dgram)/.test(family) ? 'udp' : 'tcp',
    host: hostOf(match.groups['host'] ?? '', family.endsWith('6')),
    first,
    last: Number(match.groups['last'] ?? first),
  };
}

function hostOf(text: string, isIpv6: boolean): string {
  const host = text.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (host === '' || host === '*') return isIpv6 ? '::' : '0.0.0.0';
  return canonicalIp(host) ?? host;
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
