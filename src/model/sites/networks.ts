import { isIPv4, SocketAddress } from 'node:net';

/**
 * The prefix lengths that the rules of suite.cfg look up, from long to short: HAProxy masks the address of a client with
 * one pair at a time (`ipmask`). Other lengths are expanded to the next longer one, so a /22 is four keys of /24.
 */
export const PREFIX_PAIRS = [
  { v4: 32, v6: 128 },
  { v4: 24, v6: 64 },
  { v4: 16, v6: 48 },
  { v4: 8, v6: 32 },
  { v4: 0, v6: 16 },
  { v4: 0, v6: 8 },
  { v4: 0, v6: 0 },
] as const;

/** The most keys of the networks of one option. */
export const MAX_NETWORK_KEYS = 1000;

interface Network {
  bits: 32 | 128;
  prefix: number;
  value: bigint;
}

/** The text after the address in a key of these prefix lengths. */
export function prefixMark({ v4, v6 }: (typeof PREFIX_PAIRS)[number]): string {
  return `/${v4}-${v6}|`;
}

/** How many keys the network needs in a map. */
export function countNetworkKeys(network: string): number {
  const { bits, prefix } = parse(network);
  return 2 ** (longerPrefix(bits, prefix) - prefix);
}

/**
 * The keys of a network, each up to and with the `|` before the name of the site: the address in hexadecimal as HAProxy
 * prints it (`hex`), and the prefix lengths. Call it for at most `MAX_NETWORK_KEYS` keys.
 */
export function networkKeys(network: string): string[] {
  const { bits, prefix, value } = parse(network);
  const longer = longerPrefix(bits, prefix);
  // IPv4 with prefix 0 is in three pairs, and the last pair is the one of both families.
  const pair = PREFIX_PAIRS.findLast((one) => (bits === 32 ? one.v4 : one.v6) === longer);
  const mark = pair ? prefixMark(pair) : '';
  const step = 1n << BigInt(bits - longer);
  return Array.from({ length: 2 ** (longer - prefix) }, (_, index) => {
    const address = (value + BigInt(index) * step).toString(16).toUpperCase();
    return `${address.padStart(bits / 4, '0')}${mark}`;
  });
}

/** What the rules look up for the address of a client: the beginnings of the keys, as in `networkKeys`. */
export function addressKeys(address: string): string[] {
  const { bits, value } = parse(address);
  return PREFIX_PAIRS.map((pair) => {
    const kept = masked(value, bits, bits === 32 ? pair.v4 : pair.v6);
    return `${kept
      .toString(16)
      .toUpperCase()
      .padStart(bits / 4, '0')}${prefixMark(pair)}`;
  });
}

/** The network without host bits, such as 10.0.0.0/8 for 10.1.2.3/8. */
export function withoutHostBits(network: string): string {
  const [address = '', prefix] = network.split('/');
  const bits = isIPv4(address) ? 32 : 128;
  const length = prefix === undefined ? bits : Number(prefix);
  return `${format(masked(valueOf(address), bits, length), bits)}/${length}`;
}

/** Whether an address has bits set after the prefix. */
export function hasHostBits(network: string): boolean {
  const [address = '', prefix] = network.split('/');
  if (prefix === undefined) return false;
  const bits = isIPv4(address) ? 32 : 128;
  const value = valueOf(address);
  return masked(value, bits, Number(prefix)) !== value;
}

/**
 * The network of IPv4 that a network of IPv6 addresses means, if its notation hides them: 6to4 shorter than one IPv4 address,
 * and IPv4-compatible. Networks of IPv4-mapped addresses (`::ffff:0:0/96`) are common.
 */
export function hiddenIpv4(network: string): string | undefined {
  const [address = '', given] = network.split('/');
  if (isIPv4(address) || given === undefined) return undefined;
  const length = Number(given);
  const value = valueOf(address);
  const is6to4 = value >> 112n === 0x2002n && length >= 16 && length < 48;
  const isCompatible = value >> 32n === 0n && length >= 96 && length < 128;
  if (!is6to4 && !isCompatible) return undefined;
  const ipv4 = parse(network);
  return `${format(ipv4.value, 32)}/${ipv4.prefix}`;
}

function longerPrefix(bits: 32 | 128, prefix: number): number {
  const lengths = PREFIX_PAIRS.map(({ v4, v6 }) => (bits === 32 ? v4 : v6)).filter((one) => one >= prefix);
  return Math.min(...lengths);
}

/**
 * HAProxy converts some IPv6 addresses to IPv4 before it masks them: `::a.b.c.d`, `::ffff:a.b.c.d` and those of 6to4
 * (`v6tov4` in its source). So networks of such addresses are networks of IPv4.
 */
function parse(network: string): Network {
  const [address = '', given] = network.split('/');
  const bits = isIPv4(address) ? 32 : 128;
  const prefix = given === undefined ? bits : Number(given);
  const value = masked(valueOf(address), bits, prefix);
  if (bits === 32) return { bits, prefix, value };
  const isEmbedded = value >> 32n === 0n || value >> 32n === 0xffffn;
  if (prefix >= 96 && isEmbedded) return { bits: 32, prefix: prefix - 96, value: value & 0xffff_ffffn };
  if (prefix >= 16 && value >> 112n === 0x2002n) {
    const length = Math.min(32, prefix - 16);
    return { bits: 32, prefix: length, value: masked((value >> 80n) & 0xffff_ffffn, 32, length) };
  }
  return { bits, prefix, value };
}

function masked(value: bigint, bits: number, prefix: number): bigint {
  const host = BigInt(bits - prefix);
  return (value >> host) << host;
}

function valueOf(address: string): bigint {
  if (isIPv4(address)) return address.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
  // `a:b::c:1.2.3.4` → `a:b::c:102:304`
  const plain = address.replace(/(?<=:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = '', tail] = plain.split('::');
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}

function groupsOf(text: string): string[] {
  return text === '' ? [] : text.split(':');
}

function format(value: bigint, bits: number): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  );
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}
