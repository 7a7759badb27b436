import { describe, expect, it } from 'vitest';
import { HEAD, missing, of, shown } from '../../test/kit/convert-rules.js';

describe('convert: servers', () => {
  const server = (line: string, before = '') =>
    of(
      `${HEAD}frontend web\n bind :80\n use_backend a if { hdr(host) x.example.com }\nbackend a\n${before} server s ${line}\n`,
    );

  it.each([
    ['192.0.2.9:80', { ip: '192.0.2.9', http_port: 80 }],
    ['ipv4@192.0.2.9:8080 check weight 0', { ip: '192.0.2.9', http_port: 8080, weight: 0 }],
    ['[2001:db8::9]:80', { ip: '2001:db8::9', http_port: 80 }],
    ['ipv6@2001:db8::9:80', { ip: '2001:db8::9', http_port: 80 }],
    ['192.0.2.9:80 disabled', { ip: '192.0.2.9', http_port: 80, state: 'maint' }],
    ['192.0.2.9:80 no-ssl no-send-proxy id 7 cookie x', { ip: '192.0.2.9', http_port: 80 }],
  ])('%s', (line, expected) => {
    expect(server(line).records[0]?.servers).toEqual([expected]);
  });

  it.each([
    'web.example.com:80',
    'localhost:80',
    '192.0.2.9',
    '192.0.2.9:+80',
    '192.0.2.9:0',
    '0.0.0.0:80',
    'unix@/run/x.sock',
    '/run/x.sock',
    '"$SERVER"',
    '192.0.2.9:80 ssl verify none',
    '192.0.2.9:80 send-proxy',
    '192.0.2.9:80 send-proxy-v2 check',
    '192.0.2.9:80 proto h2',
    '192.0.2.9:80 backup',
    '192.0.2.9:80 weight 300',
    '192.0.2.9:80 no-such-keyword',
    '192.0.2.9:80 socks4 192.0.2.10:1080',
  ])('%s is left out, so the domain has no record', (line) => {
    const converted = server(line);
    expect(converted.records).toEqual([]);
    expect(missing(converted)).toEqual(['x.example.com']);
  });

  it('default-server counts for the servers below it', () => {
    expect(server('192.0.2.9:80', ' default-server ssl verify none\n').records).toEqual([]);
    expect(server('192.0.2.9:80 no-ssl', ' default-server ssl weight 7\n').records[0]?.servers).toEqual([
      { ip: '192.0.2.9', http_port: 80, weight: 7 },
    ]);
  });

  it('one server of several is left out with a finding', () => {
    const converted = server('192.0.2.9:80 backup', ' server t 192.0.2.8:80\n');
    expect(converted.records[0]?.servers).toEqual([{ ip: '192.0.2.8', http_port: 80 }]);
    expect(shown(converted)).toContain('8 differs x.example.com');
  });

  it('more servers than slots, and the same address twice', () => {
    const many = Array.from(
      { length: 12 },
      (_, index) => ` server t${index} 192.0.2.${index + 20}:80\n`,
    ).join('');
    const converted = server('192.0.2.20:80', many);
    expect(converted.records[0]?.servers).toHaveLength(12);
    expect(converted.not_understood.map(({ reason }) => reason).join('\n')).toMatch(
      /has 12 servers[^]*Another server of the pool has its address/,
    );
  });

  it.each([
    'mode tcp',
    'disabled',
    'server-template w 3 x.test:80',
    'use-server s if TRUE',
    'dispatch 192.0.2.1:80',
  ])('a backend with %s gives no record', (line) => {
    expect(server('192.0.2.9:80', ` ${line}\n`).records).toEqual([]);
  });
});
