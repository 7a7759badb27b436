import { type Listener, listenIp } from '../../model/addresses/forbidden-server.js';
import { MAX_PORT } from '../../model/server.js';
import { listenAddresses } from '../config/listen-address.js';

/** Where a TCP connection reaches a listener: an address with ports, or a unix socket. */
export type ReachableAddress = Omit<Listener, 'name'> | { path: string };

/** The addresses of a host name. Empty if it has none, or if the name is unknown. */
export type Resolve = (host: string) => readonly string[];

const EVERY: readonly (4 | 6)[] = [4, 6];

/**
 * What a TCP connection reaches at the addresses of one word. `options` are the words after it, such as `v6only`. Leaves
 * out UDP and ports that are not known. A host that is not known covers every address, because refusing a server is
 * safer than a loop.
 */
export function reachableAddresses(
  word: string,
  options: readonly string[],
  resolve: Resolve,
): ReachableAddress[] {
  return listenAddresses(word).flatMap((address): ReachableAddress[] => {
    if (address.kind === 'path') return [{ path: address.path }];
    if (address.kind === 'unknown' || address.transport === 'udp') return [];
    const { first: firstPort, last: lastPort } = address;
    if (firstPort < 1 || lastPort > MAX_PORT) return [];
    return [{ firstPort, lastPort, on: scopeOf(address.host, options, resolve) }];
  });
}

function scopeOf(host: string, options: readonly string[], resolve: Resolve): Listener['on'] {
  if (host === '0.0.0.0') return { families: [4] };
  if (host === '::') return { families: options.includes('v6only') ? [6] : EVERY };
  const ip = listenIp(host);
  const addresses = ip === undefined ? resolve(host) : [ip];
  return addresses.length > 0 ? { addresses } : { families: EVERY };
}
