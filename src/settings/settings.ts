import { join } from 'node:path';
import { canonicalDomain, isWildcard } from '../model/domain-name.js';
import { MAX_POOL_COUNT } from '../model/pool-name.js';
import { MAX_PORT, MAX_SLOT } from '../model/server.js';
import { TOOLSETS, type Toolset } from '../contract/toolsets.js';
import { type AcmeSettings, acmeSettings, renewCron } from './acme-settings.js';
import {
  cidrList,
  integer,
  list,
  oneOf,
  path,
  port,
  SettingsError,
  someOf,
  text,
  trimmed,
  type Environment,
} from './parse.js';

export type HaproxyControl = 'managed' | 'master' | 'systemd' | 'podman';
export type LogLevel = 'DEBUG' | 'INFO' | 'WARNING' | 'ERROR';

/** Where a Runtime API or master CLI listens: a unix socket, or a TCP host and port. */
export type SocketAddress = { path: string } | { host: string; port: number };

/** Everything that can be set, parsed and checked once. Each field's variable and default is in SPEC section 2. */
export class Settings {
  readonly api: { host: string; port: number };
  readonly runtime: SocketAddress;
  readonly master: SocketAddress;
  readonly control: HaproxyControl;
  readonly container: string;
  readonly haproxyBin: string;
  readonly home: string;
  readonly files: {
    config: string;
    pools: string;
    map: string;
    servers: string;
    /** What was committed since `servers.json` was written, where that is large. */
    journal: string;
    certificates: string;
    state: string;
    /** Long work and how it ended, for those who ask about it after a restart. */
    operations: string;
    token: string;
    /** Who changed what. */
    audit: string;
    /** The owner lock. */
    lock: string;
    /** What was taken over from a HAProxy in use at the first start. */
    adoption: string;
    /** What the HAProxy that the suite runs writes to stdout and stderr. */
    haproxyLog: string;
  };
  /** When a new audit file is begun, and how many are kept, the current one included. */
  readonly auditLimits: { maxBytes: number; maxFiles: number };
  /** From this size of `servers.json` on a commit goes to the journal: writing it all anew would cost more. */
  readonly journalFromBytes: number;
  readonly folders: { certs: string; run: string };
  readonly poolCount: number;
  readonly maxSlots: number;
  readonly httpBinds: readonly string[];
  readonly httpsBinds: readonly string[];
  /** Where HAProxy's own Prometheus exporter listens; empty for nowhere. */
  readonly metricsBind: string;
  /** The name under which HAProxy shows /mcp to the outside; undefined for nowhere. */
  readonly publicHost: string | undefined;
  readonly trustedNetworks: readonly string[];
  /** Host names beside the loopback names, the bind address and this machine's addresses; undefined adds none. */
  readonly allowedHosts: readonly string[] | undefined;
  readonly allowedOrigins: readonly string[];
  /** CIDRs a server address must lie in; empty for any. */
  readonly allowedServerNetworks: readonly string[];
  readonly reconcile: 'heal' | 'report';
  readonly logLevel: LogLevel;
  readonly acme: AcmeSettings;
  /** When due certificates are renewed; undefined for daily at a random minute, kept across restarts. */
  readonly renewCron: string | undefined;

  /** Which tools MCP shows; REST has all of them. */
  readonly mcp: { toolsets: readonly Toolset[]; readOnly: boolean };

  /** @throws SettingsError with one line naming the variable, the value and what is allowed. */
  constructor(env: Environment) {
    this.api = { host: text(env, 'MCP_HOST', '0.0.0.0'), port: port(env, 'MCP_PORT', 8000) };
    this.home = path(env, 'HAPROXY_HOME', '/opt/haproxy');
    const conf = (variable: string, name: string) => path(env, variable, join(this.home, name));
    const servers = conf('HAPROXY_SERVERS_FILE', 'conf/servers.json');
    this.files = {
      config: conf('HAPROXY_CONFIG_FILE', 'conf/haproxy.cfg'),
      pools: conf('HAPROXY_POOLS_FILE', 'conf/pools.cfg'),
      map: conf('HAPROXY_MAP_FILE', 'conf/domains.map'),
      servers,
      journal: `${servers}.journal`,
      certificates: conf('HAPROXY_CERTIFICATES_FILE', 'conf/certificates.json'),
      state: conf('HAPROXY_STATE_FILE', 'data/servers.state'),
      operations: join(this.home, 'data/operations.json'),
      token: conf('MCP_TOKEN_FILE', 'conf/mcp-token.env'),
      audit: join(this.home, 'data/audit.jsonl'),
      lock: join(this.home, 'run/suite.lock'),
      adoption: join(this.home, 'data/adoption.json'),
      haproxyLog: join(this.home, 'data/haproxy.log'),
    };
    this.auditLimits = {
      maxBytes: integer(env, 'AUDIT_MAX_MB', 10, 1, 1000) * 1024 * 1024,
      maxFiles: integer(env, 'AUDIT_FILES', 10, 2, 1000),
    };
    this.journalFromBytes = integer(env, 'STATE_JOURNAL_FROM_KB', 16, 0, 1_000_000) * 1024;
    this.folders = { certs: conf('HAPROXY_CERT_DIR', 'certs'), run: join(this.home, 'run') };
    this.runtime = runtimeAddress(env);
    this.control = control(env);
    this.master = masterAddress(env, join(this.folders.run, 'master.sock'));
    this.container = text(env, 'HAPROXY_CONTAINER', 'haproxy');
    this.haproxyBin = text(env, 'HAPROXY_BIN', 'haproxy');
    this.poolCount = integer(env, 'HAPROXY_POOL_COUNT', 100, 1, MAX_POOL_COUNT);
    this.maxSlots = integer(env, 'HAPROXY_MAX_SLOTS', 10, 1, MAX_SLOT);
    this.httpBinds = binds(env, 'HAPROXY_HTTP_BIND', ':80,[::]:80');
    this.httpsBinds = binds(env, 'HAPROXY_HTTPS_BIND', ':443,[::]:443');
    this.metricsBind = binds(env, 'HAPROXY_METRICS_BIND', '127.0.0.1:8405')[0] ?? '';
    this.publicHost = hostName(env, 'MCP_PUBLIC_HOST');
    this.trustedNetworks = cidrList(env, 'TRUSTED_NETWORKS', '100.64.0.0/10');
    this.allowedHosts =
      trimmed(env, 'ALLOWED_HOSTS') === undefined ? undefined : list(env, 'ALLOWED_HOSTS', '');
    this.allowedOrigins = list(env, 'ALLOWED_ORIGINS', '');
    this.allowedServerNetworks = cidrList(env, 'ALLOWED_SERVER_NETWORKS', '');
    this.reconcile = oneOf(env, 'RECONCILE', ['heal', 'report'], 'heal');
    this.acme = acmeSettings(env, this.home);
    this.renewCron = renewCron(env);
    this.logLevel = oneOf(env, 'LOG_LEVEL', ['DEBUG', 'INFO', 'WARNING', 'ERROR'], 'INFO');
    this.mcp = {
      toolsets: someOf(env, 'MCP_TOOLSETS', TOOLSETS),
      readOnly: oneOf(env, 'MCP_READ_ONLY', ['true', 'false'], 'false') === 'true',
    };
  }
}

/** Pure: the same environment gives the same settings. */
export function loadSettings(env: Environment): Settings {
  return new Settings(env);
}

function runtimeAddress(env: Environment): SocketAddress {
  const socket = trimmed(env, 'HAPROXY_SOCKET');
  if (socket !== undefined) return { path: unixPath('HAPROXY_SOCKET', socket) };
  return { host: text(env, 'HAPROXY_HOST', 'localhost'), port: port(env, 'HAPROXY_PORT', 9999) };
}

function masterAddress(env: Environment, inHome: string): SocketAddress {
  const value = trimmed(env, 'HAPROXY_MASTER_SOCKET');
  if (value === undefined) return { path: unixPath('HAPROXY_HOME', inHome) };
  if (value.startsWith('/')) return { path: unixPath('HAPROXY_MASTER_SOCKET', value) };
  const match = /^(?<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):(?<port>\d{1,5})$/.exec(value);
  const number = Number(match?.groups?.['port']);
  if (!match?.groups?.['host'] || number < 1 || number > MAX_PORT)
    throw new SettingsError(
      'HAPROXY_MASTER_SOCKET',
      value,
      'an absolute path of a unix socket, or host:port',
    );
  return { host: match.groups['host'].replace(/^\[|\]$/g, ''), port: number };
}

function hostName(env: Environment, name: string): string | undefined {
  const value = trimmed(env, name);
  if (value === undefined) return undefined;
  const domain = canonicalDomain(value);
  if (domain === undefined || isWildcard(domain))
    throw new SettingsError(name, value, 'the name of a host, such as mcp.example.com');
  return domain;
}

function control(env: Environment): HaproxyControl {
  const explicit = ['HAPROXY_SOCKET', 'HAPROXY_HOST', 'HAPROXY_PORT', 'HAPROXY_CONTAINER'].some(
    (name) => trimmed(env, name) !== undefined,
  );
  const master = trimmed(env, 'HAPROXY_MASTER_SOCKET') !== undefined;
  const fallback = explicit ? (master ? 'master' : 'podman') : 'managed';
  return oneOf(env, 'HAPROXY_CONTROL', ['managed', 'master', 'systemd', 'podman'], fallback);
}

/** Linux holds the path of a unix socket in 108 bytes, the closing zero included (unix(7)). */
function unixPath(variable: string, value: string): string {
  // HAProxy binds a temporary name of up to 15 more characters first and renames it.
  if (!/^\/[A-Za-z0-9._/@+-]+$/.test(value) || value.length > 92)
    throw new SettingsError(
      variable,
      value,
      'an absolute path whose socket is at most 92 characters of A-Z a-z 0-9 . _ / @ + -',
    );
  return value;
}

function binds(env: Environment, name: string, fallback: string): readonly string[] {
  const values = list(env, name, fallback);
  for (const value of values) {
    const match = /^(?:\*|[0-9.]*|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/.exec(value);
    const number = Number(match?.[1]);
    if (!match || number < 1 || number > MAX_PORT)
      throw new SettingsError(
        name,
        value,
        'addresses such as :80, 127.0.0.1:8080 or [::]:80, separated by commas',
      );
  }
  return values;
}
