import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contains, networks } from '../addresses/ip-address.js';
import {
  countNetworkKeys,
  hasHostBits,
  hiddenIpv4,
  networkKeys,
  PREFIX_PAIRS,
  prefixMark,
  withoutHostBits,
} from './networks.js';

/** What suite.cfg looks up for a client: its masked address in hexadecimal, once for each pair of prefix lengths. */
function lookups(hex: string): string[] {
  const bits = hex.length * 4;
  return PREFIX_PAIRS.map((pair) => {
    const prefix = bits === 32 ? pair.v4 : pair.v6;
    const kept = (BigInt(`0x${hex}`) >> BigInt(bits - prefix)) << BigInt(bits - prefix);
    return `${kept.toString(16).toUpperCase().padStart(hex.length, '0')}${prefixMark(pair)}`;
  });
}

const matches = (network: string, hex: string) => {
  const keys = new Set(networkKeys(network));
  return lookups(hex).some((key) => keys.has(key));
};
const octets = (count: number) =>
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: count, maxLength: count });
const hexOf = (bytes: readonly number[]) =>
  bytes
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .toUpperCase();
const textOf = (bytes: readonly number[]) =>
  bytes.length === 4 ? bytes.join('.') : (hexOf(bytes).match(/..../g) ?? []).join(':').toLowerCase();
/** An address near the network: the first `shared` bytes are equal. */
const near = (network: readonly number[], other: readonly number[], shared: number) => [
  ...network.slice(0, shared),
  ...other.slice(shared),
];

describe('networkKeys', () => {
  it('match exactly the addresses of an IPv4 network', () => {
    fc.assert(
      fc.property(octets(4), octets(4), fc.nat(4), fc.nat(32), (network, other, shared, prefix) => {
        const cidr = withoutHostBits(`${textOf(network)}/${prefix}`);
        const address = near(network, other, shared);
        expect(hasHostBits(cidr)).toBe(false);
        expect(networkKeys(cidr)).toHaveLength(countNetworkKeys(cidr));
        expect(matches(cidr, hexOf(address))).toBe(contains(networks([cidr]), textOf(address)));
      }),
    );
  });

  it('match exactly the addresses of an IPv6 network', () => {
    const prefix = fc.constantFrom(0, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 120, 128);
    fc.assert(
      fc.property(octets(15), octets(16), fc.nat(16), prefix, (rest, other, shared, length) => {
        // Other first bytes are those of 6to4 and of embedded IPv4, which HAProxy reads as IPv4.
        const network = [0x26, ...rest];
        const cidr = withoutHostBits(`${textOf(network)}/${length}`);
        const address = near(network, [0x2a, ...other.slice(1)], shared);
        expect(matches(cidr, hexOf(address))).toBe(contains(networks([cidr]), textOf(address)));
      }),
    );
  });

  it.each([
    ['::1', '00000001'],
    ['::ffff:192.0.2.1', 'C0000201'],
    ['::ffff:192.0.2.0/120', 'C00002FF'],
    ['2002:c000:201::/48', 'C0000201'],
    ['0.0.0.0/0', '01020304'],
    ['::/0', '20010DB8000000000000000000000001'],
    ['fc00::/7', 'FD000000000000000000000000000001'],
  ])('of %s match the address that HAProxy reads', (network, hex) => {
    expect(matches(network, hex)).toBe(true);
    expect(matches(network, `${hex.slice(0, -1)}5`)).toBe(/\/(?:0|7|120)$/.test(network));
  });
});

describe('hiddenIpv4', () => {
  it.each([
    ['2002::/16', '0.0.0.0/0'],
    ['2002:c000::/20', '192.0.0.0/4'],
    ['2002:c000:200::/47', '192.0.2.0/31'],
    ['::/96', '0.0.0.0/0'],
    ['::192.0.2.0/120', '192.0.2.0/24'],
    ['::2/127', '0.0.0.2/31'],
    ['2002:c000:201::/48', undefined],
    ['2002::/15', undefined],
    ['::1', undefined],
    ['::1/128', undefined],
    ['::/0', undefined],
    ['::/95', undefined],
    ['::ffff:0:0/96', undefined],
    ['2001:db8::/32', undefined],
    ['10.0.0.0/8', undefined],
  ])('of %s is %s', (network, ipv4) => {
    expect(hiddenIpv4(network)).toBe(ipv4);
  });
});
