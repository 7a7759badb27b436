import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { BlockList } from 'node:net';
import { contains, networks } from '../../model/addresses/ip-address.js';

/** Addresses that reach this machine on every system. Linux connects 0.0.0.0 and :: to loopback. */
const ALWAYS: readonly string[] = ['127.0.0.0/8', '0.0.0.0/8', '::1/128', '::/128'];
/** RTF_LOCAL in include/uapi/linux/ipv6_route.h. */
const LOCAL_ROUTE = 0x80_00_00_00;

/**
 * Tells which addresses reach this machine. Reads the addresses of the machine on first use, at most once, so create one
 * for each check: addresses come and go.
 */
export class LocalAddresses {
  #set: BlockList | undefined;

  has(ip: string): boolean {
    if (contains(ALWAYS_SET, ip)) return true;
    this.#set ??= networks(addressesOfMachine());
    return contains(this.#set, ip);
  }
}

const ALWAYS_SET = networks(ALWAYS);

/** The routes of Linux are complete; Node leaves out interfaces that are not running, such as an empty bridge. */
function addressesOfMachine(): string[] {
  const routes = localRoutes();
  return routes.length > 0 ? routes : interfaceAddresses();
}

/** On a system other than Linux. */
function interfaceAddresses(): string[] {
  try {
    return Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .map(({ address }) => address.split('%', 1)[0] ?? '');
  } catch {
    return [];
  }
}

/** The networks whose packets Linux delivers to this machine, also those without an interface (`ip route add local`). */
function localRoutes(): string[] {
  return [
    ...localIpv4Routes(read('/proc/self/net/fib_trie')),
    ...localIpv6Routes(read('/proc/self/net/ipv6_route')),
  ];
}

/**
 * Reads the tables "Main" and "Local". Other tables hold routes for marked packets only, such as the route of every
 * address to this machine that a transparent proxy needs.
 *
 *   Local:
 *     |-- 10.0.0.5
 *        /32 host LOCAL
 */
export function localIpv4Routes(fibTrie: string): string[] {
  const found = new Set<string>();
  let address = '';
  let isUsual = false;
  for (const line of fibTrie.split('\n')) {
    if (/^\S/.test(line)) isUsual = line === 'Main:' || line === 'Local:';
    const leaf = /\|-- (\d+\.\d+\.\d+\.\d+)/.exec(line)?.[1];
    if (leaf !== undefined) address = leaf;
    const prefix = /\/(\d+) host LOCAL/.exec(line)?.[1];
    if (prefix !== undefined && isUsual) found.add(`${address}/${prefix}`);
  }
  return [...found];
}

/**
 * `fe80…01 80 0000…00 00 0000…00 00000000 00000002 00000000 80200001 eth0`: address, prefix in hex, …, flags. The file
 * does not name the table, so this leaves out the route of every address (see above).
 */
export function localIpv6Routes(routes: string): string[] {
  return routes.split('\n').flatMap((line) => {
    const [address = '', prefix = '', , , , , , , flags = '0'] = line.split(/\s+/);
    const isLocal =
      Number.parseInt(flags, 16) >= LOCAL_ROUTE && address.length === 32 && Number.parseInt(prefix, 16) > 0;
    return isLocal ? [`${address.replace(/.{4}(?!$)/g, '$&:')}/${Number.parseInt(prefix, 16)}`] : [];
  });
}

/** Empty on a system without this file. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
