import { dirname, join } from 'node:path';
import { canonicalDomain, isWildcard } from '../model/names/domain-name.js';
import { MAX_POOL_COUNT } from '../model/names/pool-name.js';
import { MAX_PORT, MAX_SLOT } from '../model/server.js';
import { SITE_MAPS, type SiteMap } from '../model/sites/site-maps.js';
import { TAILNET_IPV4, TAILNET_IPV6 } from '../model/addresses/tailnet.js';
import { type Role, ROLES } from '../contract/role.js';
import { TOOLSETS, type Toolset } from '../contract/toolsets.js';
import { type AcmeSettings, acmeSettings, renewCron } from './acme-settings.js';
import { runFiles } from './run-files.js';
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

type HaproxyControl = 'managed' | 'master' | 'systemd' | 'podman';
export type LogLevel = 'DEBUG' | 'INFO' | 'WARNING' | 'ERROR';

/** The address of a Runtime API or master CLI: a unix socket, or a TCP host and port. */
export type SocketAddress = { path: string } | { host: string; port: number };

/** Variables that a child process inherits too, so each needs a check whether it is about this process. */
interface SystemdEnvironment {
  /** INVOCATION_ID is set: systemd started this process, or a process above it. */
  isInvocation: boolean;
  /** SYSTEMD_EXEC_PID: the process that systemd started (version 248 and newer). */
  execPid: string | undefined;
  /** JOURNAL_STREAM: device and inode of the stream to the journal. */
  journalStream: string | undefined;
}

/** Finds the Runtime API that an existing haproxy.cfg declares. `preferred` is the unix socket of a new installation. */
export type FindRuntimeApi = (configFile: string, preferred: string) => SocketAddress | undefined;

/** All settings, parsed and checked once. Section 2 of the specification has each variable and its default. */
export class Settings {
  /** `tailnet`: the suite also listens on the addresses that Tailscale gives this machine. */
  readonly api: { host: string; port: number; tailnet: boolean };
  readonly runtime: SocketAddress;
  readonly master: SocketAddress;
  readonly control: HaproxyControl;
  /** In managed mode: whether a stop of the suite also stops HAProxy. */
  readonly onStop: 'stop' | 'leave';
  readonly container: string;
  readonly haproxyBin: string;
  readonly home: string;
  readonly files: {
    /** The rules that the suite generates for HAProxy. HAProxy reads it before haproxy.cfg. */
    suite: string;
    /** The operator's rules that run before the rules of the suite, and lines for the first `global` section. */
    beforeRules: string;
    beforeGlobal: string;
    /** The id of this node in the header CDN-Loop. */
    nodeId: string;
    config: string;
    pools: string;
    map: string;
    /** The names whose ACME challenges HAProxy answers. */
    acmeMap: string;
    /** The maps of the site options, beside `domains.map`. */
    sites: Readonly<Record<SiteMap, string>>;
    servers: string;
    /** The commits since the last write of `servers.json`, if that file is large. */
    journal: string;
    certificates: string;
    state: string;
    /** The servers that were DOWN, for the next HAProxy process (`server-state-file`). */
    downServers: string;
    /** The records of jobs. They survive a restart. */
    operations: string;
    token: string;
    /** Further tokens, with a name, a role and an expiry. Only their digests. */
    tokens: string;
    /** The audit log. */
    audit: string;
    /** What each revision changed. */
    history: string;
    /** The owner lock. */
    lock: string;
    /** The report of what the first start adopted from a running HAProxy. */
    adoption: string;
    /** The stdout and stderr of the HAProxy that the suite runs. */
    haproxyLog: string;
  };
  /** The size at which a new audit file starts, and how many files are kept, including the current one. */
  readonly auditLimits: { maxBytes: number; maxFiles: number };
  /** How many revisions can be undone, and the most bytes that their history has on disk. */
  readonly history: { keep: number; maxBytes: number };
  /** If `servers.json` has at least this size, commits are written to the journal, which is faster than a rewrite. */
  readonly journalFromBytes: number;
  readonly folders: { certs: string; run: string };
  readonly poolCount: number;
  readonly maxSlots: number;
  /** The CA certificates that HTTPS to servers is verified with: a file, or HAProxy's name for those of the system. */
  readonly serverCaFile: string;
  readonly httpBinds: readonly string[];
  readonly httpsBinds: readonly string[];
  /** The address of HAProxy's own Prometheus exporter; empty if it is off. */
  readonly metricsBind: string;
  /** The most domains with a time series of their own in /metrics. */
  readonly metricsDomains: number;
  /** Networks (CIDR) of proxies in front of HAProxy whose X-Forwarded-For and X-Forwarded-Proto HAProxy believes. */
  readonly trustedProxies: readonly string[];
  /** Networks (CIDR) whose connections must begin with a header of the PROXY protocol. */
  readonly proxyProtocolFrom: readonly string[];
  /** How many clients HAProxy counts for `rate_limit` of all sites together, for each window. */
  readonly rateClients: number;
  /** The host name under which HAProxy publishes /mcp; undefined if it does not. */
  readonly publicHost: string | undefined;
  readonly trustedNetworks: readonly string[];
  /** Whether TRUSTED_NETWORKS is not set, so that the trusted networks are meant to be the tailnet. */
  readonly trustsByDefault: boolean;
  /** What callers in a trusted network may do without a token. */
  readonly trustedRole: Role;
  /** Allowed host names in addition to localhost, the bind address and this machine's addresses; undefined adds none. */
  readonly allowedHosts: readonly string[] | undefined;
  readonly allowedOrigins: readonly string[];
  /** Networks (CIDR) that the addresses of servers must be in; empty allows any. */
  readonly allowedServerNetworks: readonly string[];
  readonly reconcile: 'heal' | 'report';
  readonly logLevel: LogLevel;
  readonly acme: AcmeSettings;
  /** The schedule of renewals; undefined for every hour at a random minute, which stays the same after a restart. */
  readonly renewCron: string | undefined;

  /** What systemd tells the processes that it starts (systemd.exec(5)); the operator does not set it. */
  readonly systemd: SystemdEnvironment;

  /** Which tools MCP offers. REST offers all operations. */
  readonly mcp: { toolsets: readonly Toolset[]; readOnly: boolean };

  /** @throws SettingsError that names the variable, its value and the allowed values in one line */
  constructor(env: Environment, findRuntimeApi: FindRuntimeApi) {
    this.api = apiAddress(env);
    this.home = path(env, 'HAPROXY_HOME', '/opt/haproxy');
    const conf = (variable: string, name: string) => path(env, variable, join(this.home, name));
    const servers = conf('HAPROXY_SERVERS_FILE', 'conf/servers.json');
    const suite = conf('HAPROXY_SUITE_FILE', 'conf/suite.cfg');
    const pools = conf('HAPROXY_POOLS_FILE', 'conf/pools.cfg');
    const map = conf('HAPROXY_MAP_FILE', 'conf/domains.map');
    this.files = {
      suite,
      beforeRules: join(dirname(suite), 'before.rules'),
      beforeGlobal: join(dirname(suite), 'before.global'),
      nodeId: join(this.home, 'data/node-id.json'),
      config: conf('HAPROXY_CONFIG_FILE', 'conf/haproxy.cfg'),
      pools,
      map,
      acmeMap: join(dirname(map), 'acme.map'),
      sites: siteFiles(map),
      servers,
      journal: `${servers}.journal`,
      certificates: conf('HAPROXY_CERTIFICATES_FILE', 'conf/certificates.json'),
      state: conf('HAPROXY_STATE_FILE', 'data/servers.state'),
      downServers: join(dirname(pools), 'down-servers.state'),
      operations: join(this.home, 'data/operations.json'),
      token: conf('MCP_TOKEN_FILE', 'conf/mcp-token.env'),
      tokens: conf('TOKENS_FILE', 'conf/tokens.json'),
      audit: join(this.home, 'data/audit.jsonl'),
      history: join(this.home, 'data/history.jsonl'),
      lock: runFiles(join(this.home, 'run')).lock,
      adoption: join(this.home, 'data/adoption.json'),
      haproxyLog: join(this.home, 'data/haproxy.log'),
    };
    this.auditLimits = {
      maxBytes: integer(env, 'AUDIT_MAX_MB', 10, 1, 1000) * 1024 * 1024,
      maxFiles: integer(env, 'AUDIT_FILES', 10, 2, 1000),
    };
    this.history = {
      keep: integer(env, 'HISTORY_KEEP', 10_000, 1, 1_000_000),
      maxBytes: integer(env, 'HISTORY_MAX_MB', 256, 16, 100_000) * 1024 * 1024,
    };
    this.journalFromBytes = integer(env, 'STATE_JOURNAL_FROM_KB', 16, 0, 1_000_000) * 1024;
    this.folders = { certs: conf('HAPROXY_CERT_DIR', 'certs'), run: join(this.home, 'run') };
    this.control = control(env);
    this.runtime = runtimeAddress(env, this, findRuntimeApi);
    this.master = masterAddress(env, runFiles(this.folders.run).masterSocket);
    this.container = text(env, 'HAPROXY_CONTAINER', 'haproxy');
    this.onStop = oneOf(env, 'HAPROXY_ON_STOP', ['stop', 'leave'], 'stop');
    this.haproxyBin = text(env, 'HAPROXY_BIN', 'haproxy');
    this.poolCount = integer(env, 'HAPROXY_POOL_COUNT', 100, 1, MAX_POOL_COUNT);
    this.maxSlots = integer(env, 'HAPROXY_MAX_SLOTS', 10, 1, MAX_SLOT);
    this.serverCaFile =
      trimmed(env, 'SERVER_CA_FILE') === undefined ? '@system-ca' : path(env, 'SERVER_CA_FILE', '/');
    this.httpBinds = binds(env, 'HAPROXY_HTTP_BIND', ':80,[::]:80');
    this.httpsBinds = binds(env, 'HAPROXY_HTTPS_BIND', ':443,[::]:443');
    this.metricsBind = binds(env, 'HAPROXY_METRICS_BIND', '127.0.0.1:8405')[0] ?? '';
    this.metricsDomains = integer(env, 'METRICS_DOMAINS', 10_000, 0, 1_000_000);
    this.rateClients = integer(env, 'RATE_LIMIT_CLIENTS', 100_000, 1000, 10_000_000);
    this.trustedProxies = cidrList(env, 'TRUSTED_PROXIES', '');
    this.proxyProtocolFrom = cidrList(env, 'PROXY_PROTOCOL_FROM', '');
    this.publicHost = hostName(env, 'MCP_PUBLIC_HOST');
    this.trustedNetworks = cidrList(env, 'TRUSTED_NETWORKS', trustedByDefault(this.api));
    this.trustsByDefault = env['TRUSTED_NETWORKS'] === undefined;
    this.trustedRole = oneOf(env, 'TRUSTED_ROLE', ROLES, 'admin');
    this.allowedHosts =
      trimmed(env, 'ALLOWED_HOSTS') === undefined ? undefined : list(env, 'ALLOWED_HOSTS', '');
    this.allowedOrigins = list(env, 'ALLOWED_ORIGINS', '');
    this.allowedServerNetworks = cidrList(env, 'ALLOWED_SERVER_NETWORKS', '');
    this.reconcile = oneOf(env, 'RECONCILE', ['heal', 'report'], 'heal');
    this.acme = acmeSettings(env, this.home);
    this.renewCron = renewCron(env);
    this.systemd = {
      isInvocation: trimmed(env, 'INVOCATION_ID') !== undefined,
      execPid: trimmed(env, 'SYSTEMD_EXEC_PID'),
      journalStream: trimmed(env, 'JOURNAL_STREAM'),
    };
    this.logLevel = oneOf(env, 'LOG_LEVEL', ['DEBUG', 'INFO', 'WARNING', 'ERROR'], 'INFO');
    this.mcp = {
      toolsets: someOf(env, 'MCP_TOOLSETS', TOOLSETS),
      readOnly: oneOf(env, 'MCP_READ_ONLY', ['true', 'false'], 'false') === 'true',
    };
  }
}

/**
 * Depends only on the environment that is given, and on what `findRuntimeApi` finds. Without `findRuntimeApi`, the
 * settings are those of a new installation.
 *
 * @throws SettingsError
 */
export function loadSettings(env: Environment, findRuntimeApi: FindRuntimeApi = () => undefined): Settings {
  return new Settings(env, findRuntimeApi);
}

/**
 * Without a setting, an existing haproxy.cfg decides. A new installation has the Runtime API on a unix socket, because
 * every program of the machine could connect to a TCP port, and the port could become a server of a site.
 */
function runtimeAddress(
  env: Environment,
  { files, folders }: Pick<Settings, 'files' | 'folders'>,
  findRuntimeApi: FindRuntimeApi,
): SocketAddress {
  const socket = trimmed(env, 'HAPROXY_SOCKET');
  if (socket !== undefined) return { path: unixPath('HAPROXY_SOCKET', socket) };
  const tcp = { host: text(env, 'HAPROXY_HOST', 'localhost'), port: port(env, 'HAPROXY_PORT', 9999) };
  const isGiven = ['HAPROXY_HOST', 'HAPROXY_PORT'].some((name) => trimmed(env, name) !== undefined);
  if (isGiven) return tcp;
  const path = runFiles(folders.run).runtimeSocket;
  return findRuntimeApi(files.config, path) ?? (path.length <= MAX_UNIX_PATH ? { path } : tcp);
}

/** @throws SettingsError if `domains.map` has the name of one of them */
function siteFiles(map: string): Record<SiteMap, string> {
  const files = SITE_MAPS.map((name) => [name, join(dirname(map), `${name}.map`)] as const);
  const same = files.find(([, path]) => path === map);
  if (same)
    throw new SettingsError(
      'HAPROXY_MAP_FILE',
      map,
      'another name, because the suite writes options of sites into a file of this name',
    );
  return Object.fromEntries(files) as Record<SiteMap, string>;
}

/** The value of MCP_HOST for loopback and the tailnet. */
const TAILNET = 'tailnet';

function apiAddress(env: Environment): Settings['api'] {
  const host = text(env, 'MCP_HOST', '0.0.0.0');
  const tailnet = host.toLowerCase() === TAILNET;
  return { host: tailnet ? '127.0.0.1' : host, port: port(env, 'MCP_PORT', 8000), tailnet };
}

/**
 * Only Tailscale's own interface is open to IPv6 callers with MCP_HOST=tailnet. With another MCP_HOST, a router on the
 * local network could give this machine an address in Tailscale's IPv6 network.
 */
function trustedByDefault({ tailnet }: Settings['api']): string {
  return tailnet ? `${TAILNET_IPV4},${TAILNET_IPV6}` : TAILNET_IPV4;
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

/**
 * Linux allows 108 bytes for the path of a unix socket, including the final zero byte (unix(7)). HAProxy first binds a
 * temporary name that is up to 15 characters longer, then renames it.
 */
const MAX_UNIX_PATH = 92;

function unixPath(variable: string, value: string): string {
  if (!/^\/[A-Za-z0-9._/@+-]+$/.test(value) || value.length > MAX_UNIX_PATH)
    throw new SettingsError(
      variable,
      value,
      `an absolute path of at most ${MAX_UNIX_PATH} characters, which are A-Z a-z 0-9 . _ / @ + -`,
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
