import { describe, expect, it } from 'vitest';
import { canonicalIp, contains, formatHostPort, networks } from './ip-address.js';

describe('canonicalIp', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['1.0.0.0', '1.0.0.0'],
    ['223.255.255.255', '223.255.255.255'],
    ['240.0.0.0', '240.0.0.0'],
    ['255.255.255.254', '255.255.255.254'],
    ['2001:DB8:0:0:0::1', '2001:db8::1'],
    ['::1', '::1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '10.0.0.1'],
  ])('turns %s into %s', (input, canonical) => {
    expect(canonicalIp(input)).toBe(canonical);
  });

  it.each([
    '',
    'example.com',
    '10.0.0',
    '010.0.0.1',
    '10.0.0.256',
    '10.0.0.1:80',
    '10.0.0.1 ',
    '[::1]',
    'fe80::1%eth0',
    '0.0.0.0',
    '0.255.255.255',
    '::',
    '::ffff:0.0.0.0',
    '224.0.0.1',
    '239.255.255.255',
    '255.255.255.255',
    'ff02::1',
    '10.0.0.1;',
    '10.0.0.0/8',
  ])('refuses %j', (input) => {
    expect(canonicalIp(input)).toBeUndefined();
  });
});

describe('formatHostPort', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1:80'],
    ['2001:db8::1', '[2001:db8::1]:80'],
    ['example.com', 'example.com:80'],
  ])('formats %s and port 80 as %s', (host, formatted) => {
    expect(formatHostPort(host, 80)).toBe(formatted);
  });
});

describe('networks', () => {
  it('contains subnets and single addresses of both families, and IPv4-mapped addresses', () => {
    const set = networks(['10.0.0.0/8', '192.0.2.1', 'fd00::/8']);
    for (const inside of ['10.1.2.3', '192.0.2.1', 'fd00::1', '::ffff:10.0.0.1'])
      expect(contains(set, inside)).toBe(true);
    for (const outside of ['11.0.0.1', '192.0.2.2', '2001:db8::1', '', 'nonsense'])
      expect(contains(set, outside)).toBe(false);
  });
});
