import { isIPv6 } from 'node:net';
import type { Listener } from '../../model/forbidden-server.js';
import { listenIp } from '../../model/forbidden-server.js';
import { MAX_PORT } from '../../model/server.js';

/** An address of a `bind`, a `stats socket` or a `server` line (configuration manual, section 11). */
export type ListenAddress = Omit<Listener, 'name'> | { path: string };

/** The addresses of a host name. Empty if it has none, or if the name is unknown. */
export type Resolve = (host: string) => readonly string[];

/** Address families that a TCP connection to an IP address cannot reach. */
const OTHER_FAMILIES = new Set('quic4 quic6 udp udp4 udp6 fd rhttp rev sockpair dgram'.split(' '));
const PATH_FAMILIES = new Set(['unix', 'abns', 'abnsz', 'uxst', 'uxdg']);
const EVERY: readonly (4 | 6)[] = [4, 6];

/**
 * The addresses of one word: `:80`, `*:8000-8010`, `[::]:80`, `ipv4@10.0.0.1:80,10.0.0.2:80`, `unix@/run/http.sock`.
 * `options` are the words after it, such as `v6only`. Leaves out what no TCP connection reaches, and addresses without
 * a port that is known. A host that is not known covers every address, because refusing a server is safer than a loop.
 */
export function parseListenAddresses(
  word: string,
  options: readonly string[],
  resolve: Resolve,
): ListenAddress[] {
  return word.split(',').flatMap((part) => parseOne(part, options, resolve) ?? []);
}

function parseOne(part: string, options: readonly string[], resolve: Resolve): ListenAddress | undefined {
  const [, family = '', text = ''] = /^(?:stream\+)?(?:([a-z]+[46]?)@)?(.*)$/s.exec(part) ?? [];
  if (OTHER_FAMILIES.has(family)) return undefined;
  if (PATH_FAMILIES.has(family) || text.startsWith('/'))
    return { path: `${family === 'uxst' ? '' : prefixOf(family)}${text}` };
  const colon = text.lastIndexOf(':');
  const [, first = '', last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text.slice(colon + 1)) ?? [];
  const [firstPort, lastPort] = [Number(first), Number(last)];
  if (colon === -1 || first === '' || firstPort < 1 || lastPort > MAX_PORT) return undefined;
  return { firstPort, lastPort, on: scopeOf(text.slice(0, colon), family, options, resolve) };
}

/** `unix@/x` and `/x` are the same socket; an abstract socket has a name space of its own. */
function prefixOf(family: string): string {
  return family.startsWith('abns') ? 'abns@' : '';
}

function scopeOf(host: string, family: string, options: readonly string[], resolve: Resolve): Listener['on'] {
  const plain = host.replace(/^\[|\]$/g, '');
  const isSix = family.endsWith('6') || isIPv6(plain.split('%', 1)[0] ?? '');
  if (plain === '' || plain === '*' || plain === '0.0.0.0' || plain === '::')
    return { families: isSix ? (options.includes('v6only') ? [6] : EVERY) : [4] };
  const ip = listenIp(plain);
  if (ip !== undefined) return { addresses: [ip] };
  const resolved = resolve(plain);
  return resolved.length > 0 ? { addresses: resolved } : { families: EVERY };
}
