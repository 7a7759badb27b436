import { describe, expect, it } from 'vitest';
import { parseConfig } from '../haproxy/config/config-parser.js';
import { tailnetAddresses } from '../model/addresses/tailnet.js';
import { loadSettings } from '../settings/settings.js';
import { VERSION } from '../lib/version.js';
import { accessFindings } from './checks/access-checks.js';
import { clockFindings } from './checks/acme-checks.js';
import { type DnsFacts, dnsFindings } from './checks/dns-checks.js';
import { buildFindings } from './checks/haproxy-checks.js';
import {
  diskFindings,
  memoryFindings,
  nodeFindings,
  readOnlyMountOf,
  timeSyncFindings,
} from './checks/machine-checks.js';
import { ipv6Findings } from './checks/network-checks.js';
import { killModeFindings, unitFindings } from './checks/service-checks.js';
import { versionFindings, withoutRepeated } from './checks/suite-checks.js';
import { shellVariables } from './facts/shell-variables.js';
import { environmentFiles, environmentOf, unitsOf } from './facts/units.js';
import { allows, type HostUser } from './facts/users.js';
import { error, type Finding, warning } from './finding.js';
import { Mending, type MendingFacts } from './mending.js';
import { quote } from '../lib/shell-quote.js';

const facts = (more: Partial<MendingFacts> = {}, env: Record<string, string> = {}): MendingFacts => ({
  settings: loadSettings({ HAPROXY_HOME: '/opt/haproxy', ...env }),
  variables: shellVariables(env),
  hasSuiteUnit: false,
  hasHaproxyUnit: false,
  environmentFile: '/opt/haproxy/.env',
  suitePid: undefined,
  ...more,
});
const mending = new Mending(facts());
const texts = (findings: readonly Finding[]) =>
  findings.map(({ severity, problem }) => `${severity} ${problem}`);

describe('Mending', () => {
  const units = { hasSuiteUnit: true, hasHaproxyUnit: true };
  it.each([
    [
      'managed, no unit',
      facts(),
      'HAPROXY_HOME=/opt/haproxy haproxy-suite serve',
      'HAPROXY_HOME=/opt/haproxy haproxy-suite serve',
    ],
    [
      'managed, a unit',
      facts({ hasSuiteUnit: true }),
      'systemctl start haproxy-mcp.service',
      'systemctl start haproxy-mcp.service',
    ],
    [
      'systemd',
      facts(units, { HAPROXY_CONTROL: 'systemd' }),
      'systemctl start haproxy-mcp.service',
      'systemctl reload haproxy.service',
    ],
    [
      'podman',
      facts({ hasSuiteUnit: true }, { HAPROXY_CONTROL: 'podman', HAPROXY_CONTAINER: 'web' }),
      'systemctl start haproxy-mcp.service',
      'podman kill --signal USR2 web',
    ],
  ])('gives the commands of this host: %s', (_, given, start, reload) => {
    const commands = new Mending(given);
    expect(commands.startSuite()).toBe(start);
    expect(commands.reloadHaproxy()).toBe(reload);
  });
});

describe('accessFindings > who reaches the suite', () => {
  const lan = { eth0: [{ address: '10.0.0.5' }] };
  const tailnet = { ...lan, tailscale0: [{ address: '100.64.7.2' }] };
  const carrier = { ppp0: [{ address: '100.70.0.1' }] };
  const LOOPBACK = { MCP_HOST: '127.0.0.1' };
  it.each([
    ['MCP_HOST=tailnet', { MCP_HOST: 'tailnet' }, tailnet, true, []],
    [
      'MCP_HOST=tailnet, and another program has the port',
      { MCP_HOST: 'tailnet' },
      tailnet,
      false,
      [/^warning .*100\.64\.7\.2:8000/],
    ],
    ['loopback, no Tailscale', LOOPBACK, lan, false, []],
    [
      'loopback, with Tailscale',
      LOOPBACK,
      tailnet,
      false,
      [/^note .*tailnet cannot reach 100\.64\.7\.2:8000/],
    ],
    ['the Tailscale address', { MCP_HOST: '100.64.7.2' }, tailnet, true, []],
    ['every address', {}, lan, true, [/^note .*other machines/]],
    ['a carrier, by default', {}, carrier, true, [/^note .*other machines/]],
    [
      'a carrier that is trusted',
      { TRUSTED_NETWORKS: '100.64.0.0/10' },
      carrier,
      true,
      [/^warning .*100\.70\.0\.1 of ppp0/, /^note /],
    ],
    ['a carrier, and loopback', { ...LOOPBACK, TRUSTED_NETWORKS: '100.64.0.0/10' }, carrier, true, []],
  ])('%s', (_, env, interfaces, answers, expected) => {
    const found = texts(
      accessFindings(loadSettings(env), mending, {
        interfaces,
        wayToInternet: new Set(['eth0', 'ppp0']),
        isListening: new Map(tailnetAddresses(interfaces).map((address) => [address, answers])),
      }),
    );
    expect(found).toEqual(expected.map((pattern) => expect.stringMatching(pattern)));
  });
});

describe('the command that starts the suite again', () => {
  const env = {
    HAPROXY_HOME: '/opt/own',
    MCP_PORT: '8001',
    MCP_HOST: '0.0.0.0',
    HAPROXY_HTTP_BIND: ':81,[::]:81',
    HAPROXY_ON_STOP: 'leave',
    CF_Token: 'very-secret',
    PATH: '/bin',
    LANG: 'C',
  };
  const commands = new Mending(facts({ suitePid: 7 }, env));

  it('has the variables that differ from the defaults, and no secret', () => {
    const start =
      "HAPROXY_HOME=/opt/own MCP_PORT=8001 HAPROXY_HTTP_BIND=':81,[::]:81' HAPROXY_ON_STOP=leave haproxy-suite serve   # Set CF_Token before, with the values that the suite has now.";
    expect(commands.restartSuite()).toBe(`kill -TERM 7; tail --pid=7 -f /dev/null; ${start}`);
    // HAPROXY_ON_STOP=leave: a restart of the suite would attach to the same HAProxy.
    expect(commands.restartHaproxy()).toBe(`HAPROXY_HOME=/opt/own haproxy-suite stop --all && ${start}`);
    expect(commands.reloadHaproxy()).toBe('HAPROXY_HOME=/opt/own MCP_PORT=8001 {haproxy_reload}');
  });
});

describe('quote', () => {
  it('lets no name of a file run a command', () => {
    expect(quote('/certs/a.pem')).toBe('/certs/a.pem');
    expect(quote("/certs/a'; rm -rf $HOME.pem")).toBe(String.raw`'/certs/a'\''; rm -rf $HOME.pem'`);
  });
});

describe('withoutRepeated', () => {
  const own = [error('x.test expired 3 day(s) ago', '')];
  const health = (problem: string) => withoutRepeated([warning(problem, '')], own).map((one) => one.problem);

  it('removes from health what a check of the doctor says too', () => {
    expect(
      health('x.test expired 3 day(s) ago. Use POST /api/v1/certificates/renew to renew a certificate, or …'),
    ).toEqual([]);
    expect(
      health(
        'x.test expired 3 day(s) ago; visitors do not get y.pem: none. Use {haproxy_renew_cert} to renew',
      ),
    ).toEqual([expect.stringContaining('visitors do not get y.pem')]);
    expect(health('HAProxy does not answer')).toEqual(['HAProxy does not answer']);
    expect(health('The suite is not ready: x.test expired 3 day(s) ago')).toEqual([]);
    expect(health('Not known: x.test expired 3 day(s) ago.')).toEqual([]);
  });
});

describe('allows', () => {
  const user = (uid: number, gid: number, ignoresModes = false): HostUser => ({
    name: '',
    uid,
    gids: new Set([gid]),
    ignoresModes,
    bindsLowPorts: false,
  });
  it.each([
    [0o640, user(1, 9), true],
    [0o640, user(2, 9), false],
    [0o640, user(2, 5), true],
    [0o604, user(2, 5), false],
    [0o604, user(2, 9), true],
    [0o000, user(0, 0, true), true],
    [0o000, user(0, 0), false],
  ])('reads the mode %o as the kernel does', (mode, who, expected) => {
    expect(allows({ path: '', mode, uid: 1, gid: 5 }, who, 'r')).toBe(expected);
  });
});

describe('units of systemd', () => {
  const [unit] = unitsOf(
    'Id=haproxy-mcp.service\nLoadState=loaded\nUnitFileState=enabled\nRestart=always\nKillMode=process\nActiveState=active\n' +
      'Environment=A=1 "B=two words"\nEnvironmentFiles=/etc/a (ignore_errors=yes)\nEnvironmentFiles=/etc/b (ignore_errors=no)\n',
  );

  it('says nothing about a unit that is right', () => {
    expect(unit?.isLoaded).toBe(true);
    expect(unit && [...unitFindings(unit, mending), ...killModeFindings(unit, 'leave', mending)]).toEqual([]);
  });

  it('reads the environment of a unit', async () => {
    expect(unit && environmentFiles(unit)).toEqual(['/etc/a', '/etc/b']);
    expect(unit && (await environmentOf(unit))).toEqual({ A: '1', B: 'two words' });
  });

  it('names a failed and a masked unit', () => {
    const [bad] = unitsOf(
      'Id=haproxy.service\nLoadState=masked\nUnitFileState=masked\nActiveState=failed\nRestart=always\n',
    );
    expect(bad && texts(unitFindings(bad, mending))).toEqual([
      'error haproxy.service is masked, so systemd does not start it.',
      'error haproxy.service has failed.',
    ]);
  });
});

describe('rules that no test can plant', () => {
  const ipv6 = parseConfig('frontend web\n bind :80\n bind [::]:80 v6only\n', 'haproxy.cfg');
  const quic = parseConfig('frontend web\n bind quic4@:443 ssl crt /c\n', 'haproxy.cfg');
  const build = (features: string) => `HAProxy version 3.2.1 2026/01/01\nFeature list : ${features} \n`;
  const GIGABYTE = 1024 ** 3;
  const disk = {
    freeBytes: 9 * GIGABYTE,
    totalBytes: 10 * GIGABYTE,
    freeInodes: 9e5,
    totalInodes: 1e6,
    readOnlyMount: undefined,
  };
  const now = new Date('2026-11-28');

  it.each<[string, Finding[], string[]]>([
    ['IPv6 binds, and IPv6', ipv6Findings(ipv6, true, 'f'), []],
    [
      'IPv6 binds without IPv6',
      ipv6Findings(ipv6, false, 'f'),
      ['error f has IPv6 binds (line 3), and this machine has no IPv6, so HAProxy does not start.'],
    ],
    ['all features', buildFindings(build('+OPENSSL +QUIC +X'), quic, now), []],
    [
      'no QUIC for a QUIC bind',
      buildFindings(build('+OPENSSL -QUIC'), quic, now),
      ['error HAProxy 3.2.1 is built without QUIC, so it serves no HTTP/3, and haproxy.cfg has a QUIC bind.'],
    ],
    [
      'no QUIC, and no bind',
      buildFindings(build('+OPENSSL -QUIC'), [], now),
      ['note HAProxy 3.2.1 is built without QUIC, so it serves no HTTP/3.'],
    ],
    ['a suite of this version', versionFindings(VERSION, mending), []],
    [
      'a suite of another version',
      versionFindings('0.0.9', mending),
      [`warning The running suite has version 0.0.9, and this program has version ${VERSION}.`],
    ],
    ['Node.js 20.19', nodeFindings('20.19.0'), []],
    [
      'Node.js 18',
      nodeFindings('18.20.0'),
      ['error Node.js 18.20.0 runs the suite, which needs 20.19 or newer.'],
    ],
    ['enough memory', memoryFindings('MemAvailable: 900000 kB'), []],
    [
      'little memory',
      memoryFindings('MemAvailable: 20480 kB'),
      [expect.stringMatching(/^warning This machine has 20 MB of free memory/) as string],
    ],
    ['space on the disk', diskFindings('/h', disk), []],
    [
      'little space',
      diskFindings('/h', { ...disk, freeBytes: 100 * 1024 ** 2 }),
      [expect.stringMatching(/^warning .*100 MB left/) as string],
    ],
    [
      'a file system without a number of inodes',
      diskFindings('/h', { ...disk, freeInodes: 0, totalInodes: 0 }),
      [],
    ],
    ['a clock that is right', clockFindings(-2_000), []],
    [
      'a clock that is late',
      clockFindings(-120_000),
      [expect.stringMatching(/^warning .* 120 s behind/) as string],
    ],
    ['a synchronized clock', timeSyncFindings('NTP=yes\nNTPSynchronized=yes'), []],
    [
      'a clock that is not synchronized yet',
      timeSyncFindings('NTP=yes\nNTPSynchronized=no'),
      ['warning The clock of this machine is not synchronized yet.'],
    ],
  ])('%s', (_, findings, expected) => {
    expect(texts(findings)).toEqual(expected);
  });

  it('finds the mount of a path', () => {
    const mounts = 'a / ext4 rw 0 0\nb /opt ext4 ro,noatime 0 0\nc /opt/haproxy ext4 rw 0 0\n';
    expect([
      readOnlyMountOf('/opt/haproxy', mounts),
      readOnlyMountOf('/opt/x', mounts),
      readOnlyMountOf('/optional', mounts),
    ]).toEqual([undefined, '/opt', undefined]);
  });
});

describe('dnsFindings', () => {
  const on = (own: string, more: Partial<DnsFacts> = {}): DnsFacts => ({
    isOwn: (ip) => ip === own,
    ownAddresses: [own],
    bindsIpv6: true,
    trustedProxies: [],
    wildcardProbe: (name) => name,
    ...more,
  });
  const at = (...addresses: string[]) => [{ domain: 'a.shop', addresses, isMissing: false }];

  it.each<[string, Finding[], string[]]>([
    ['the address of the machine', dnsFindings(at('198.51.100.1'), on('198.51.100.1')), []],
    [
      'another public address',
      dnsFindings(at('203.0.113.1'), on('198.51.100.1')),
      ['warning a.shop: DNS has the address 203.0.113.1, which is not of this machine.'],
    ],
    [
      'a public address for a private machine',
      dnsFindings(at('203.0.113.1'), on('10.0.0.1')),
      [expect.stringMatching(/^note a\.shop: .*only private addresses/) as string],
    ],
    [
      'Cloudflare, which is trusted',
      dnsFindings(at('104.16.0.1'), on('10.0.0.1', { trustedProxies: ['104.16.0.0/13'] })),
      [],
    ],
    [
      'IPv6 without a bind',
      dnsFindings(at('198.51.100.1', '2001:db8::1'), on('198.51.100.1', { bindsIpv6: false })),
      [expect.stringMatching(/^warning a\.shop: DNS has an IPv6 address/) as string],
    ],
  ])('%s', (_, findings, expected) => {
    expect(texts(findings)).toEqual(expected);
  });
});
