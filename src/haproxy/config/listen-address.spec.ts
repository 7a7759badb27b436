import { describe, expect, it } from 'vitest';
import { connectHost, hostsOverlap, listenAddresses } from './listen-address.js';

const port = (host: string, first: number, last = first) => ({
  kind: 'port',
  transport: 'tcp',
  host,
  first,
  last,
});
const udp = (host: string, first: number) => ({ ...port(host, first), transport: 'udp' });
const path = (text: string) => ({ kind: 'path', path: text });
const unknown = (reason: string) => ({
  kind: 'unknown',
  reason: expect.stringContaining(reason),
  transport: 'tcp',
});

describe('listenAddresses', () => {
  // The forms of the configuration manual, "bind" and section 11.1.
  it.each([
    [':80', port('0.0.0.0', 80)],
    ['*:80', port('0.0.0.0', 80)],
    ['0.0.0.0:80', port('0.0.0.0', 80)],
    ['ipv4@:80', port('0.0.0.0', 80)],
    ['ip@10.0.0.1:80', port('10.0.0.1', 80)],
    ['10.0.0.1:8000-8010', port('10.0.0.1', 8000, 8010)],
    [':::80', port('::', 80)],
    ['[::]:80', port('::', 80)],
    ['[0:0:0:0:0:0:0:0]:80', port('::', 80)],
    ['ipv6@:80', port('::', 80)],
    ['ipv6@*:80', port('::', 80)],
    ['tcp6@[2001:DB8:0::1]:80', port('2001:db8::1', 80)],
    ['2001:db8::1:80', port('2001:db8::1', 80)],
    ['[fe80::1%eth0]:80', port('fe80::1', 80)],
    ['[::ffff:10.0.0.1]:80', port('10.0.0.1', 80)],
    ['[::1]:80-81', port('::1', 80, 81)],
    ['Own.Example:80', port('own.example', 80)],
    ['tcp@10.0.0.1:80', port('10.0.0.1', 80)],
    ['mptcp4@10.0.0.1:80', port('10.0.0.1', 80)],
    ['stream+ipv4@10.0.0.1:80', port('10.0.0.1', 80)],
    ['quic4@:443', udp('0.0.0.0', 443)],
    ['quic6@:443', udp('::', 443)],
    ['quic+ip@10.0.0.1:443', udp('10.0.0.1', 443)],
    ['dgram+ipv4@:514', udp('0.0.0.0', 514)],
    ['udp6@[::1]:514', udp('::1', 514)],
    ['/run/x.sock', path('/run/x.sock')],
    ['unix@/run/x.sock', path('/run/x.sock')],
    ['unix@relative.sock', path('relative.sock')],
    ['uxst@/run/x:80', path('/run/x:80')],
    ['abns@name', path('abns@name')],
    ['abnsz@name', path('abnsz@name')],
    ['fd@3', unknown('not an IP address')],
    ['sockpair@4', unknown('not an IP address')],
    ['rhttp@backend/server', unknown('not an IP address')],
    ['10.0.0.1', unknown('no port')],
    ['${A}:80', port('${A}', 80)],
    ['ipv4@${A-10.0.0.1}:80', port('${A-10.0.0.1}', 80)],
    [':${P}', unknown('environment variable')],
    ['/run/${N}.sock', path('/run/${N}.sock')],
  ])('reads %s', (text, expected) => {
    expect(listenAddresses(text)).toEqual([{ text, ...expected }]);
  });

  it('splits a list, and no default value of a variable', () => {
    const texts = (word: string) => listenAddresses(word).map(({ text }) => text);
    expect(texts(':80,[::]:80,,/run/x.sock')).toEqual([':80', '[::]:80', '/run/x.sock']);
    expect(texts('${A-:80,:81},:82')).toEqual(['${A-:80,:81}', ':82']);
  });
});

it.each([
  [':80', '127.0.0.1'],
  ['[::]:80', '::1'],
  ['10.0.0.1:80', '10.0.0.1'],
  ['own.example:80', 'own.example'],
])('connectHost > %s is reached at %s', (text, host) => {
  const [address] = listenAddresses(text);
  expect(address?.kind === 'port' && connectHost(address)).toBe(host);
});

it.each([
  ['0.0.0.0', '10.0.0.1', true],
  ['::', '10.0.0.1', true],
  ['0.0.0.0', '::1', false],
  ['localhost', '127.0.0.1', true],
  ['10.0.0.1', '10.0.0.2', false],
])('hostsOverlap > %s and %s: %s', (one, other, expected) => {
  expect(hostsOverlap(one, other)).toBe(expected);
  expect(hostsOverlap(other, one)).toBe(expected);
});
