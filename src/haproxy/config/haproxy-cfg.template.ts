import type { Settings, SocketAddress } from '../../settings/settings.js';
import { formatAddress } from '../runtime/transport.js';
import { errorPage } from './error-page.js';

/** The settings that haproxy.cfg depends on. */
type ConfigSettings = Pick<
  Settings,
  'runtime' | 'files' | 'folders' | 'httpBinds' | 'httpsBinds' | 'metricsBind'
>;

/** Features of the machine. Lines that need a missing feature are commented out, so HAProxy starts without them. */
interface Machine {
  ipv6: boolean;
  /** HAProxy starts as root and can become the user haproxy. */
  haproxyUser?: boolean;
}

/**
 * The initial haproxy.cfg, with comments for the operator, who owns the file afterwards: the suite never writes it
 * again. Pure. `haproxy -c` prints no warnings on 3.0, 3.2 and 3.4, except that TLS has no certificate yet.
 */
export function renderConfig(settings: ConfigSettings, machine: Machine): string {
  const { suite, beforeRules, beforeGlobal, pools } = settings.files;
  return `# HAProxy configuration. haproxy-suite wrote this file once and never changes it again. Edit it as you like, then reload.
# The suite needs: the stats socket, the section "defaults pools", and "frontend web from suite_web" with its use_backend line.
# HAProxy starts with -f ${suite} -f this file -f ${pools}
# The suite generates the first and the last of them: do not edit these two.

# HAProxy accepts "nbthread" and "thread-groups" only in the first section of all files: put them into ${beforeGlobal}.
global
    # Logs starts, stops and health changes to standard output, but no requests (see "frontend web"). The journal reads the
    # priority of each line from "format short".
    log stdout format short local0 notice
${machine.haproxyUser === true ? USER : ''}    # The Runtime API. The suite changes HAProxy through it. Every user who can connect to it has full control.
    stats socket ${runtimeBind(settings.runtime)} level admin
    stats timeout 2m
    # After a reload or a stop, HAProxy closes the remaining connections after this time.
    hard-stop-after 10m
    # Spreads the health checks of many servers over time.
    spread-checks 5
    ssl-default-bind-options ssl-min-ver TLSv1.2
    # Enables HTTP/3 also if HAProxy is built with an OpenSSL without a QUIC interface (3.0 in Debian).
    limited-quic

# For the generated backends ("backend pool_N from pools").
defaults pools
    mode http
    log global
    balance roundrobin
    timeout connect 5s
    timeout server 1m
    timeout queue 10s
    timeout tunnel 1h
    # If a server is unreachable or closes the connection without a response, HAProxy tries another server at once.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
    http-error status 503 content-type "text/html; charset=utf-8" string "${errorPage('503 Service unavailable', 'No server of this site can answer now. Please try again later.')}"

# "defaults suite_web" in ${suite} has the timeouts and the rules of the suite. Your own rules in this
# section run after them. Rules that must run before them belong into ${beforeRules}.
frontend web from suite_web
${settings.httpBinds.map((bind) => httpBind(bind, machine)).join('')}${settings.httpsBinds.map((bind) => httpsBinds(bind, settings.folders.certs, machine)).join('')}
    # To log every request, remove the "#" from the next two lines.
    #log stdout format short local0 info
    #option httplog

    # To redirect all requests to https, remove the "#" from the next line.
    #http-request redirect scheme https code 308 unless { var(txn.suite_scheme) -m str https }
${altSvc(settings)}
    # The rules of the suite set txn.pool. Without a pool, the answer is 404 (or the one of your own default_backend).
    use_backend %[var(txn.pool)] if { var(txn.pool) -m found }
${exporter(settings.metricsBind)}`;
}

/**
 * `setcap`: HAProxy keeps the right to bind a socket to port 443 for each HTTP/3 connection. Without it all connections of
 * a thread share the socket of the listener.
 */
const USER = `    # HAProxy starts as root, opens its ports and files, and then becomes this user.
    user haproxy
    group haproxy
    setcap cap_net_bind_service
`;

/** Binds localhost as 127.0.0.1, because a machine may have no ::1. Clients that connect to localhost try both. */
function runtimeBind(address: SocketAddress): string {
  if ('path' in address) return `${address.path} mode 600`;
  return formatAddress(address.host === 'localhost' ? { host: '127.0.0.1', port: address.port } : address);
}

function httpBind(bind: string, machine: Machine): string {
  return `    ${disabledMark(bind, machine)}bind ${bind}${v6only(bind)}\n`;
}

/**
 * With `strict-sni`, HAProxy starts although the certificate folder is empty. TLS handshakes fail until there is a
 * certificate for the name; plain HTTP works from the start.
 */
function httpsBinds(bind: string, certificates: string, machine: Machine): string {
  const tls = `ssl crt ${certificates}/ strict-sni`;
  const quic = bind.startsWith('[') ? 'quic6' : 'quic4';
  const start = `    ${disabledMark(bind, machine)}bind`;
  return `${start} ${bind}${v6only(bind)} ${tls} alpn h2,http/1.1\n${start} ${quic}@${bind}${v6only(bind)} ${tls} alpn h3\n`;
}

/** Without `v6only`, an IPv6 wildcard address also binds the IPv4 port. */
function v6only(bind: string): string {
  return bind.startsWith('[') ? ' v6only' : '';
}

function disabledMark(bind: string, machine: Machine): string {
  return bind.startsWith('[') && !machine.ipv6 ? '#(this machine had no IPv6) ' : '';
}

function altSvc(settings: ConfigSettings): string {
  if (settings.httpsBinds.length === 0) return '';
  return `    # Announces HTTP/3 on the same port.
    http-after-response set-header alt-svc "h3=\\":%[dst_port]\\"; ma=86400" if { ssl_fc }
`;
}

function exporter(bind: string): string {
  if (bind === '') return '';
  return `
# Metrics of HAProxy for Prometheus.
frontend metrics from suite_clients
    bind ${bind}
    http-request use-service prometheus-exporter if { path /metrics }
    http-request return status 404 content-type text/plain string "See /metrics"
`;
}
