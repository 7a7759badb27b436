import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../settings/settings.js';
import { parseConfig } from '../config-parser.js';
import { renderConfig } from '../haproxy-cfg.template.js';
import { missingRequirements } from './requirements.js';

const ENV = { HAPROXY_HOME: '/opt/haproxy', HAPROXY_CONTROL: 'managed', HAPROXY_PORT: '9999' };
const MAP = '/opt/haproxy/conf/domains.map';

const GLOBAL = 'global\n    stats socket 127.0.0.1:9999 level admin\n';
const POOLS =
  'defaults pools\n    mode http\n    balance roundrobin\n    timeout connect 5s\n    timeout server 1m\n';
const WEB = `frontend web
    mode http
    bind :80
    http-request set-var(txn.pool) req.hdr(host),lower,map_str(${MAP})
    use_backend %[var(txn.pool)]
`;

function findings(text: string, env: Record<string, string> = {}, links: Record<string, string> = {}) {
  return missingRequirements(parseConfig(text, 'h.cfg'), loadSettings({ ...ENV, ...env }), {
    generatedPools: true,
    realPath: (path) => links[path] ?? path,
  });
}

describe('missingRequirements > finds nothing in a configuration that works', () => {
  it('the template, also with a unix socket, IPv6 and a public name', () => {
    const environments: Record<string, string>[] = [
      {},
      { HAPROXY_SOCKET: '/run/h.sock' },
      { MCP_PUBLIC_HOST: 'mcp.example' },
    ];
    for (const env of environments) {
      const settings = loadSettings({ ...ENV, ...env });
      expect(findings(renderConfig(settings, { ipv6: true }), env)).toEqual([]);
    }
  });

  it.each([
    [
      'several stats sockets',
      'stats socket /run/h/ro.sock mode 660 level operator\n    stats socket *:1999 level admin',
      { HAPROXY_PORT: '1999' },
    ],
    ['an address family', 'stats socket ipv4@127.0.0.1:9999 level admin', {}],
    ['all addresses', 'stats socket :9999 level admin', {}],
    ['IPv6', 'stats socket ipv6@:9999 level admin', {}],
    ['a range', 'stats socket 127.0.0.1:9990-9999 level admin', {}],
    ['a variable', 'stats socket "${RUNTIME}" level admin', {}],
    ['a variable port', 'stats socket 127.0.0.1:"${PORT}" level admin expose-fd listeners', {}],
    ['a variable host', 'stats socket "${IP}":9999 level admin', {}],
    ['a variable path', 'stats socket unix@"${SOCKET}" level admin', { HAPROXY_SOCKET: '/run/h.sock' }],
    ['an inherited descriptor', 'stats socket fd@"${FD}" level admin', {}],
    ['a list', 'stats socket /run/h.sock,127.0.0.1:9999 mode 600 level admin', {}],
    ['the prefix unix@', 'stats socket unix@/run/h.sock level admin', { HAPROXY_SOCKET: '/run/h.sock' }],
    [
      'a path prefix',
      'unix-bind prefix /run/ mode 600\n    stats socket h.sock level admin',
      { HAPROXY_SOCKET: '/run/h.sock' },
    ],
    ['a link', 'stats socket /var/run/h.sock level admin', { HAPROXY_SOCKET: '/run/h.sock' }],
    [
      'another path of the same socket in a container',
      'stats socket /sock/h.sock level admin',
      { HAPROXY_SOCKET: '/run/h/h.sock', HAPROXY_CONTROL: 'master' },
    ],
    [
      'a mapped port of a container',
      'stats socket :1999 level admin',
      { HAPROXY_PORT: '29999', HAPROXY_CONTROL: 'podman' },
    ],
    [
      'another host',
      'stats socket 10.0.0.9:9999 level admin',
      { HAPROXY_HOST: 'lb.internal', HAPROXY_CONTROL: 'master' },
    ],
  ])('stats socket with %s', (_, lines, env) => {
    expect(findings(`global\n    ${lines}\n${POOLS}${WEB}`, env, { '/var/run': '/run' })).toEqual([]);
  });

  it.each([
    ['the lookup in the rule', `use_backend %[req.hdr(host),lower,map(${MAP})]`],
    ['a lookup with a default', `use_backend %[req.hdr(host),field(1,:),lower,map_dom(${MAP},pool_1)]`],
    ['a condition', `use_backend pool_1 if { req.hdr(host),map(${MAP}) -m str pool_1 }`],
    ['a relative path', 'use_backend %[req.hdr(host),lower,map(domains.map)]'],
    ['a variable path', 'use_backend %[req.hdr(host),lower,map("${CONF}/domains.map")]'],
    ['a link', 'use_backend %[req.hdr(host),lower,map(/link/domains.map)]'],
    [
      'another variable',
      `http-request set-var(req.b) req.hdr(host),map(${MAP})\n    http-request set-var(txn.x) var(req.b)\n    use_backend %[var(txn.x)] if TRUE`,
    ],
    [
      'set-var-fmt',
      `http-request set-var-fmt(txn.b) %[req.hdr(host),map(${MAP})]\n    use_backend %[var(txn.b)]`,
    ],
    [
      'Lua',
      `http-request lua.route\n    http-request set-header X %[str(a),map(${MAP})]\n    use_backend %[var(txn.lua_pool)]`,
    ],
  ])('routing with %s', (_, lines) => {
    const text = `${GLOBAL}${POOLS}frontend web\n    mode http\n    bind :80\n    ${lines}\n`;
    expect(findings(text, {}, { '/link/domains.map': MAP })).toEqual([]);
  });

  it.each([
    ['two lines of one frontend', 'bind :443 thread 1/1-4', 'bind :443 thread 2/1-4', true],
    ['TCP and QUIC', 'bind :443', 'bind quic4@:443', false],
    ['IPv4 and IPv6', 'bind :443', 'bind [::]:443 v6only', false],
    ['two interfaces', 'bind :443 interface eth0', 'bind :443 interface eth1', false],
    ['two namespaces', 'bind :443 namespace a', 'bind :443 namespace b', false],
    ['all addresses and one of them', 'bind *:443', 'bind 10.0.0.1:443', false],
    ['a variable', 'bind ":${PORT}"', 'bind ":${PORT}"', false],
    ['a disabled frontend', 'bind :443', 'disabled\n    bind :443', false],
    ['a condition', 'bind :443', '.if defined(X)\n    bind :443\n.endif', false],
  ])('binds of %s', (_, one, other, same) => {
    const second = same ? '' : 'listen more\n    mode tcp\n';
    const text = `${GLOBAL}${POOLS}${WEB}frontend tls\n    mode tcp\n    ${one}\n${second}    ${other}\n`;
    expect(findings(text)).toEqual([]);
  });

  it('a bind beside the port of the suite', () => {
    const api = { MCP_HOST: '127.0.0.1' };
    for (const bind of [
      '10.0.0.1:8000',
      'quic4@:8000',
      '[::]:8000 v6only',
      '127.0.0.1:8001',
      '100.64.7.2:8000',
    ])
      expect(findings(`${GLOBAL}${POOLS}${WEB}frontend b\n    bind ${bind}\n`, api)).toEqual([]);
  });

  it('rules of the suite in another file', () => {
    const web = 'frontend web from suite_web\n    bind :80\n    use_backend %[var(txn.suite_pool)]\n';
    expect(findings(`${GLOBAL}${POOLS}${web}`)).toEqual([]);
  });
});

describe('missingRequirements > names the lines to add', () => {
  it('to a packaged configuration', () => {
    // The file of the Debian package, and one of the reports in public issue trackers.
    const text = `global
    log /dev/log local0
    chroot /var/lib/haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
    stats timeout 30s
    user haproxy
    daemon
defaults
    log global
    mode http
    timeout connect 5000
frontend http-in
    bind *:80
    default_backend servers
backend servers
    server s1 10.0.0.1:80 check
`;
    const found = findings(text);
    expect(found.map(({ level, line }) => [level, line])).toEqual([
      ['prevents_start', 1],
      ['prevents_start', null],
      ['prevents_start', 12],
    ]);
    expect(found[0]?.message).toContain('    stats socket 127.0.0.1:9999 level admin');
    expect(found[0]?.message).toContain('/run/haproxy/admin.sock');
    expect(found[1]?.message).toContain('defaults pools\n    mode http\n');
    expect(found[2]?.message).toContain(`map_str(${MAP})`);
    // With the lines of the messages, the configuration is complete.
    const lines = (index: number) => (found[index]?.message ?? '').split('\n').slice(1);
    const [stats = ''] = lines(0);
    const repaired = `${text}${lines(1).join('\n')}\n`
      .replace('    stats timeout', `${stats}\n    stats timeout`)
      .replace('    bind *:80', `    bind *:80\n${lines(2).join('\n')}`);
    expect(findings(repaired)).toEqual([]);
  });

  it('to a stats socket without the level admin', () => {
    const [found, ...others] = findings(
      `global\n    stats socket 127.0.0.1:9999 level operator mode 600\n${POOLS}${WEB}`,
    );
    expect(others).toEqual([]);
    expect(found).toMatchObject({ level: 'prevents_start', line: 2 });
    expect(found?.message).toContain('    stats socket 127.0.0.1:9999 mode 600 level admin');
  });

  it('to a frontend that looks up the pool and does not use it', () => {
    const [found] = findings(
      `${GLOBAL}${POOLS}${WEB.replace(/ +use_backend.*\n/, '    use_backend %[path,map(/etc/paths.map)]\n')}`,
    );
    expect(found).toMatchObject({ level: 'prevents_start' });
    expect(found?.message).toContain('use_backend %[var(txn.pool)] if { var(txn.pool) -m found }');
  });

  it.each([
    ['two frontends', 'frontend b\n    bind *:80\n', 'error', '"frontend web" (h.cfg:10)'],
    ['a frontend and the Runtime API', 'listen b\n    bind 127.0.0.1:9999\n', 'error', '"global"'],
    ['a range of ports', 'frontend b\n    bind :70-90\n', 'error', '"frontend web"'],
    [
      'an abstract socket',
      'frontend b\n    bind abns@x\nfrontend c\n    bind abns@x\n',
      'error',
      'does not start. Remove',
    ],
    [
      'a variable host',
      'frontend b\n    bind ${A}:81\nfrontend c\n    bind ${A}:81\n',
      'error',
      '"frontend b"',
    ],
    ['the port of the suite', 'frontend b\n    bind 127.0.0.1:8000\n', 'prevents_start', 'MCP_PORT 8000'],
  ])('for %s on one address', (_, section, level, message) => {
    const found = findings(`${GLOBAL}${POOLS}${WEB}${section}`);
    expect(found).toMatchObject([{ level, message: expect.stringContaining(message) }]);
  });

  it('for the Tailscale address with MCP_HOST=tailnet', () => {
    const text = `${GLOBAL}${POOLS}${WEB}frontend b\n    bind 100.64.7.2:8000\n`;
    const message = expect.stringContaining('MCP_HOST tailnet');
    expect(findings(text, { MCP_HOST: 'tailnet' })).toMatchObject([{ level: 'prevents_start', message }]);
  });
});

describe('missingRequirements > settings of pools', () => {
  const pools = (lines: string) =>
    findings(`${GLOBAL}${POOLS.replace('    balance roundrobin\n', lines)}${WEB}`);

  it.each(['source', 'uri', 'url_param id', 'hdr(host)', 'rdp-cookie', 'hash src', 'static-rr'])(
    'refuses the static algorithm %s',
    (balance) => {
      expect(pools(`    balance ${balance}\n`)).toMatchObject([
        { level: 'error', line: 5, message: expect.stringContaining('is static') },
      ]);
    },
  );

  it.each([
    '    balance leastconn\n',
    '    balance random(2)\n',
    '    balance first\n',
    '    balance source\n    hash-type consistent\n',
    '    balance hdr(host)\n    hash-type consistent sdbm avalanche\n',
    // haproxy/haproxy issues 2469 and 2885.
    '    default-server no-ssl check addr 192.0.2.2 port 8080 slowstart 10s maxconn 200 inter 10s fastinter 1s fall 3 observe layer4 error-limit 1 on-error mark-down pool-purge-delay 60s allow-0rtt pool-low-conn 3 alpn h2,http/1.1\n',
    '    default-server maxconn 2000 inter 5s fastinter 2s downinter 10s rise 3 fall 2 slowstart 10s\n',
    '    default-server init-addr last,libc,none resolvers dns check\n',
    '    default-server ssl verify required ca-file @system-ca sni req.hdr(host) check-sni a.example\n',
  ])('accepts %s', (lines) => {
    expect(pools(lines)).toEqual([]);
  });

  it.each([
    ['    default-server socks4 127.0.0.1:1080\n', 'add server'],
    ['    default-server agent-send "a b"\n', 'blanks'],
    ['    default-server ca-file "${CERTS}/ca.pem" ssl\n', 'environment variable'],
    ['    default-server verify none brand-new-keyword\n', '"brand-new-keyword"'],
  ])('refuses %s', (lines, message) => {
    expect(pools(lines)).toMatchObject([{ level: 'error', message: expect.stringContaining(message) }]);
  });

  it('refuses pools that are not in mode http', () => {
    const text = `${GLOBAL}${POOLS.replace('    mode http\n', '')}${WEB}`;
    expect(findings(text)).toMatchObject([{ level: 'error', line: 3 }]);
    expect(
      findings(text.replace('defaults pools', 'defaults base\n    mode http\ndefaults pools from base')),
    ).toEqual([]);
  });

  it('warns of a file of states and of a condition', () => {
    expect(pools('    load-server-state-from-file global\n')).toMatchObject([{ level: 'warning', line: 5 }]);
    expect(pools('    load-server-state-from-file none\n')).toEqual([]);
    const declared =
      'defaults old\n    load-server-state-from-file global\nbackend pool_1\n    mode http\nbackend pool_2 from pools\n';
    expect(findings(`${GLOBAL}${POOLS}${WEB}${declared}`)).toMatchObject([
      { level: 'warning', line: 15, message: expect.stringMatching(/^pool_1 of this file/) },
    ]);
    expect(pools('.if feature(X)\n    balance leastconn\n.endif\n')).toMatchObject([
      { level: 'warning', line: 6 },
    ]);
  });
});
