import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net';

export const IP_RULE = 'a unicast IPv4 or IPv6 address (no host name, no zone, not 0.0.0.0 or ::)';

/** The characters of an address, without a zone. Clients are generated from it. */
export const IP_FORM = /^[0-9A-Fa-f:.]{2,45}$/;

/** HAProxy reads 0.0.0.0 and :: as "the address that the client connected to", so no server can have them. */
const NOT_UNICAST = networks(['::/128', 'ff00::/8']);

/**
 * Not in 0.0.0.0/8, 224.0.0.0/4 or 255.255.255.255/32. Does not use a BlockList, which creates an object for each
 * address that it checks.
 */
function isUnicast(ipv4: string): boolean {
  const first = Number.parseInt(ipv4, 10);
  return first !== 0 && (first < 224 || first > 239) && ipv4 !== '255.255.255.255';
}

/**
 * The canonical form (RFC 5952 for IPv6), or undefined for anything that is not the address of a server. An IPv4-mapped
 * IPv6 address becomes IPv4, so that rules for IPv4 networks apply to it.
 */
export function canonicalIp(input: string): string | undefined {
  if (!IP_FORM.test(input)) return undefined;
  if (isIPv4(input)) return isUnicast(input) ? input : undefined;
  if (!isIPv6(input)) return undefined;
  const address = new SocketAddress({ address: input, family: 'ipv6' }).address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1];
  if (mapped !== undefined) return canonicalIp(mapped);
  return NOT_UNICAST.check(address, 'ipv6') ? undefined : address;
}

/** `10.0.0.1`, 80 → `10.0.0.1:80`; `2001:db8::1`, 80 → `[2001:db8::1]:80`. A host name is used unchanged. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A set of networks to test addresses against. The CIDRs (or single addresses) must be valid. */
export function networks(cidrs: readonly string[]): BlockList {
  const set = new BlockList();
  for (const cidr of cidrs) {
    const [address = '', prefix] = cidr.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    set.addSubnet(address, prefix === undefined ? (family === 'ipv4' ? 32 : 128) : Number(prefix), family);
  }
  return set;
}

/** Whether the set contains the address, which may be IPv4-mapped as sockets report it. */
export function contains(set: BlockList, address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return set.check(mapped, 'ipv4');
  if (isIPv4(address)) return set.check(address, 'ipv4');
  return isIPv6(address) && set.check(address, 'ipv6');
}
