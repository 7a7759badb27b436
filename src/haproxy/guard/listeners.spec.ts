import { describe, expect, it } from 'vitest';
import { forbiddenServer } from '../../model/addresses/forbidden-server.js';
import { canonicalIp } from '../../model/addresses/ip-address.js';
import { loadSettings } from '../../settings/settings.js';
import { parseConfig } from '../config/config-parser.js';
import { controlListeners, hostNames, routingListeners } from './listeners.js';
import { localIpv4Routes, localIpv6Routes } from './local-addresses.js';

/** The addresses of an imaginary machine. 198.51.100.7 is the address of a host name. */
const LOCAL = new Set(['127.0.0.1', '127.9.9.9', '::1', '10.0.0.5', '2001:db8::5', 'fe80::5']);
const NAMES: Record<string, string[]> = { 'own.example': ['10.0.0.5'], 'api.example': ['198.51.100.7'] };

/** What a server with this address and port would be. */
function verdict(
  config: string,
  server: string,
  {
    env = {},
    environment = {},
    sockets = [],
  }: { env?: Record<string, string>; environment?: Record<string, string>; sockets?: string[] } = {},
): string | undefined {
  const [, ip = '', port = ''] = /^\[?([^\]]*)\]?:(\d+)$/.exec(server) ?? [];
  const settings = loadSettings({ HAPROXY_HOME: '/h', MCP_PORT: '8000', ...env });
  const isLocal = (address: string): boolean => LOCAL.has(address);
  const sources = {
    settings,
    sections: parseConfig(config, 'haproxy.cfg'),
    running: { sockets, environment: new Map(Object.entries(environment)) },
    resolve: (host: string) => NAMES[host] ?? [],
    isLocal,
  };
  const facts = { controls: controlListeners(sources), routing: routingListeners(sources), isLocal };
  return forbiddenServer(canonicalIp(ip) ?? ip, Number(port), facts)?.code;
}

const CONTROL = 'server_is_control';
const HAPROXY = 'server_is_haproxy';
const web = (bind: string) =>
  `frontend web\n  bind ${bind}\n  use_backend %[req.hdr(host),map_str(/h/conf/domains.map)]\n`;

describe('forbiddenServer > control ports', () => {
  it.each([
    ['this suite', '', '127.0.0.1:8000', {}],
    ['this suite on the address of an interface', '', '10.0.0.5:8000', { env: { MCP_HOST: '127.0.0.1' } }],
    ['this suite on another loopback address', '', '127.9.9.9:8000', {}],
    ['this suite over IPv6', '', '[::1]:8000', {}],
    ['this suite on a link-local address', '', '[fe80::5]:8000', {}],
    ['a mapped address', '', '[::ffff:127.0.0.1]:8000', {}],
    ['a mapped address in hex', '', '[0:0:0:0:0:FFFF:7F00:1]:8000', {}],
    ['an IPv4-compatible address', '', '[::127.0.0.1]:8000', {}],
    ['an IPv4-translated address', '', '[::ffff:0:127.0.0.1]:8000', {}],
    ['a NAT64 address', '', '[64:ff9b::a00:5]:8000', {}],
    ['a local NAT64 address', '', '[64:ff9b:1::10.0.0.5]:8000', {}],
    ['a 6to4 address', '', '[2002:a00:5::1]:8000', {}],
    ['the Runtime API in the settings', '', '127.0.0.1:7001', { env: { HAPROXY_PORT: '7001' } }],
    [
      'the Runtime API on another machine',
      '',
      '198.51.100.7:7001',
      { env: { HAPROXY_HOST: 'api.example', HAPROXY_PORT: '7001' } },
    ],
    ['the master CLI', '', '127.0.0.1:7002', { env: { HAPROXY_MASTER_SOCKET: '127.0.0.1:7002' } }],
    ['a stats socket', 'global\n stats socket 127.0.0.1:7003 level admin', '10.0.0.5:7003', {}],
    ['a stats socket without a level', 'global\n stats socket ipv4@*:7003', '10.0.0.5:7003', {}],
    ['a stats socket over IPv6', 'global\n stats socket ipv6@:::7003', '127.0.0.1:7003', {}],
    ['a stats socket on a named host', 'global\n stats socket own.example:7003', '10.0.0.5:7003', {}],
    ['a stats socket in a later global section', 'global\nglobal\n stats socket :7003', '[::1]:7003', {}],
    ['a stats socket in quotes', 'global\n stats socket "127.0.0.1:7003"', '127.0.0.1:7003', {}],
    ['one of several addresses', 'global\n stats socket /x,127.0.0.1:7003', '127.0.0.1:7003', {}],
    ['a variable', 'global\n stats socket :${P}', '127.0.0.1:7003', { environment: { P: '7003' } }],
    ['a variable of the file', 'global\n setenv P 7003\n stats socket :${P}', '127.0.0.1:7003', {}],
    ['a default of a variable', 'global\n stats socket :${P-7003}', '127.0.0.1:7003', {}],
    ['a stats socket of the running HAProxy', '', '127.0.0.1:7003', { sockets: ['ipv4@127.0.0.1:7003'] }],
    ['a peer', 'peers p\n peer me 10.0.0.5:7004\n', '127.0.0.1:7004', {}],
    ['a bind of peers', 'peers p\n bind :7004\n server me\n', '127.0.0.1:7004', {}],
    ['an open statistics page', 'listen s\n bind :7005\n stats admin if TRUE\n', '127.0.0.1:7005', {}],
  ])('%s', (_, config, server, more) => {
    expect(verdict(config, server, more)).toBe(CONTROL);
  });

  it.each([
    ['the same port on another machine', '', '10.0.0.6:8000', {}],
    ['the same port on another machine over IPv6', '', '[2001:db8::6]:8000', {}],
    ['another port', '', '127.0.0.1:8001', {}],
    ['a unix socket', 'global\n stats socket /run/h.sock level admin', '127.0.0.1:80', {}],
    ['a remote peer', 'peers p\n peer other 10.0.0.6:7004\n', '10.0.0.7:7004', {}],
    [
      'a statistics page with a password',
      'listen s\n bind :7005\n stats admin if TRUE\n stats auth a:b\n',
      '127.0.0.1:7005',
      {},
    ],
    ['the port of HAProxy 0.1, if nothing listens there', '', '127.0.0.1:9999', {}],
  ])('allows %s', (_, config, server, more) => {
    expect(verdict(config, server, more)).toBeUndefined();
  });
});

describe('forbiddenServer > binds that route by the map', () => {
  it.each([
    [':80', '127.0.0.1:80'],
    ['*:80', '10.0.0.5:80'],
    ['0.0.0.0:80', '10.0.0.5:80'],
    ['10.0.0.5:80', '10.0.0.5:80'],
    ['[::]:80', '[::1]:80'],
    [':::80', '127.0.0.1:80'],
    ['[::]:80 v6only', '[2001:db8::5]:80'],
    ['ipv6@:80', '[::1]:80'],
    ['ipv6@*:80 v4v6', '127.0.0.1:80'],
    [':8000-8010', '10.0.0.5:8007', { MCP_PORT: '1' }],
    ['127.0.0.1:81,10.0.0.5:80', '10.0.0.5:80'],
    ['/run/x.sock,:80', '10.0.0.5:80'],
    [':80 interface eth0', '10.0.0.5:80'],
    ['tcp4@:80', '10.0.0.5:80'],
    ['stream+ipv4@:80', '10.0.0.5:80'],
    ['own.example:80', '10.0.0.5:80'],
    ['unknown.example:80', '10.0.0.5:80'],
    ['${UNKNOWN}:80', '10.0.0.5:80'],
    [':80', '[64:ff9b::10.0.0.5]:80'],
  ])('"bind %s" refuses %s', (bind, server, env: Record<string, string> = {}) => {
    expect(verdict(web(bind), server, { env })).toBe(HAPROXY);
  });

  it.each([
    [':80', '[::1]:80'],
    [':80', '10.0.0.6:80'],
    ['10.0.0.5:80', '127.0.0.1:80'],
    ['[::]:80 v6only', '127.0.0.1:80'],
    ['[2001:db8::5]:80', '127.0.0.1:80'],
    ['quic4@:443', '127.0.0.1:443'],
    ['unix@/run/x.sock', '127.0.0.1:80'],
    ['abns@x', '127.0.0.1:80'],
    ['fd@3', '127.0.0.1:3'],
    [':${UNKNOWN}', '127.0.0.1:80'],
    ['own.example:80', '127.0.0.1:80'],
    [':8001-8010', '127.0.0.1:8011'],
  ])('"bind %s" allows %s', (bind, server) => {
    expect(verdict(web(bind), server)).toBeUndefined();
  });

  it.each([
    ['from suite_web', 'frontend f from suite_web\n bind :80\n', HAPROXY],
    [
      'the rules in its defaults',
      'defaults d\n http-request set-var(txn.p) req.hdr(host),map(/h/conf/domains.map)\nfrontend f from d\n bind :80\n',
      HAPROXY,
    ],
    [
      'the rules in the last defaults',
      'defaults\n http-request set-var(txn.p) req.hdr(host),map(/h/conf/domains.map)\nfrontend f\n bind :80\n',
      HAPROXY,
    ],
    [
      'rules of a defaults section that it does not use',
      'defaults d\n http-request set-var(txn.p) src,map(/h/conf/domains.map)\ndefaults\nfrontend f\n bind :80\n',
      undefined,
    ],
    ['no rule about the map', `listen app\n bind :80\n server a 10.0.0.9:80\n${web(':81')}`, undefined],
    [
      'TCP in front of the web frontend',
      `listen sni\n mode tcp\n bind :80\n server web 127.0.0.1:81 send-proxy\n${web('127.0.0.1:81')}`,
      HAPROXY,
    ],
    [
      'a backend that leads to the web frontend',
      `frontend sni\n bind :80\n default_backend b\nbackend b\n server web unix@/run/w.sock\n${web('/run/w.sock')}`,
      HAPROXY,
    ],
    [
      'two steps to the web frontend',
      `listen one\n bind :80\n server a abns@two\nlisten two\n bind abns@two\n server b 127.0.0.1:82\n${web(':82')}`,
      HAPROXY,
    ],
    [
      'a backend with the same port on another machine',
      `listen one\n bind :80\n server a 10.0.0.9:81\n${web(':81')}`,
      undefined,
    ],
  ])('a frontend with %s', (_, config, code) => {
    expect(verdict(config, '127.0.0.1:80')).toBe(code);
  });

  it('resolves each host name once', () => {
    const settings = loadSettings({ HAPROXY_HOME: '/h', HAPROXY_HOST: 'api.example' });
    const sections = parseConfig(
      `global\n stats socket own.example:1\n${web('b.example:80,*:81,[::]:82,${X}:83')}`,
      'f',
    );
    const running = { sockets: [], environment: new Map<string, string>() };
    expect(hostNames({ settings, sections, running })).toEqual(['api.example', 'own.example', 'b.example']);
  });
});

describe('LocalAddresses', () => {
  it('reads the local routes of Linux', () => {
    const trie =
      'Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.0.0\n        /16 host LOCAL\n     |-- 10.9.0.0\n        /24 link UNICAST\n     |-- 10.0.0.5\n        /32 host LOCAL\nId 100:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 host LOCAL\n';
    expect(localIpv4Routes(trie)).toEqual(['10.1.0.0/16', '10.0.0.5/32']);
    const zeros = '0'.repeat(32);
    const line = (address: string, flags: string) =>
      `${address} 80 ${zeros} 00 ${zeros} 00000000 00000002 00000000 ${flags} eth0`;
    const routes = [
      line(`fd${'0'.repeat(29)}2`, '80200001'),
      line(`fd${'0'.repeat(29)}3`, '00000001'),
      '',
    ].join('\n');
    expect(localIpv6Routes(routes)).toEqual(['fd00:0000:0000:0000:0000:0000:0000:0002/128']);
  });
});
