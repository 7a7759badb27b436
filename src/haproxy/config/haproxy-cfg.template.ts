import type { Settings, SocketAddress } from '../../settings/settings.js';
import { formatAddress } from '../runtime/transport.js';

/** The settings that haproxy.cfg depends on. */
type ConfigSettings = Pick<
  Settings,
  'runtime' | 'files' | 'folders' | 'httpBinds' | 'httpsBinds' | 'metricsBind' | 'api' | 'publicHost'
>;

/** Features of the machine. Lines that need a missing feature are commented out, so HAProxy starts without them. */
interface Machine {
  ipv6: boolean;
}

/**
 * The initial haproxy.cfg, with comments for the operator, who owns the file afterwards: the suite never writes it
 * again. Pure. `haproxy -c` prints no warnings on 3.0, 3.2 and 3.4, except that TLS has no certificate yet.
 */
export function renderConfig(settings: ConfigSettings, machine: Machine): string {
  const map = settings.files.map;
  return `# HAProxy configuration. haproxy-suite wrote this file once and never changes it again. Edit it as you like, then reload.
# The suite needs: the stats socket, the section "defaults pools", and the map lookups in "frontend web".
# HAProxy starts with this file and ${settings.files.pools}. The suite generates that file: do not edit it.

global
    # Logs starts, stops and health changes to standard output, but no requests (see "defaults clients").
    log stdout format raw local0 notice
    # The Runtime API. The suite changes HAProxy through it. Every user who can connect to it has full control.
    stats socket ${runtimeBind(settings.runtime)} level admin
    stats timeout 2m
    # After a reload or a stop, HAProxy closes the remaining connections after this time.
    hard-stop-after 10m
    # Spreads the health checks of many servers over time.
    spread-checks 5
    ssl-default-bind-options ssl-min-ver TLSv1.2
    # Enables HTTP/3 also if HAProxy is built with an OpenSSL without a QUIC interface (3.0 in Debian).
    limited-quic

# For all sections except the generated backends.
defaults clients
    mode http
    # To log every request, remove the "#" from the next two lines.
    #log stdout format raw local0 info
    #option httplog
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    # The longest time until all headers of a request have arrived.
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout tunnel 1h
    # After a reload or a stop, HAProxy closes an idle client connection with its next response, so no request fails.
    option idle-close-on-response

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
    http-error status 503 content-type "text/html; charset=utf-8" string "${page('503 Service unavailable', 'No server of this site can answer now. Please try again later.')}"

frontend web from clients
${settings.httpBinds.map((bind) => httpBind(bind, machine)).join('')}${settings.httpsBinds.map((bind) => httpsBinds(bind, settings.folders.certs, machine)).join('')}
    # To redirect all requests to https, remove the "#" from the next line.
    #http-request redirect scheme https code 308 unless { ssl_fc }

    # The address and the protocol of the client. These lines replace the values that the client sent.
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    # HAProxy retries a request that it has already sent only if the method is safe to repeat.
    http-request disable-l7-retry unless { method GET HEAD OPTIONS }

    # Finds the pool of the Host in ${map}. The port, the case and a final dot are ignored. An exact name has
    # priority over a wildcard. The map stores "*.example.com" as ".example.com". Both lookups use a tree, so a large map is fast.
    http-request set-var(txn.host) req.hdr(host),field(1,:),lower,rtrim(.)
${publicFrontend(settings)}    http-request set-var(txn.pool) var(txn.host),map_str(${map}) unless { var(txn.host) -m beg . }
    http-request set-var(txn.pool) var(txn.host),regsub(^[^.]*,),map_str(${map}) unless { var(txn.pool) -m found } || { var(txn.host) -m beg . }
${settings.publicHost === undefined ? '' : '    use_backend suite if suite_host\n'}    use_backend %[var(txn.pool)] if { var(txn.pool) -m found }
    default_backend unknown_host
${altSvc(settings)}
# Requests for a host that matches no domain.
backend unknown_host from clients
    http-request return status 404 content-type "text/html; charset=utf-8" string "${page('404 Unknown host', 'No site of this name is served here.')}"
${publicBackend(settings)}${exporter(settings.metricsBind)}`;
}

/** The rules that publish the suite under MCP_PUBLIC_HOST: only the path /mcp. The suite itself checks the token. */
function publicFrontend({ publicHost, httpsBinds }: ConfigSettings): string {
  if (publicHost === undefined) return '';
  // Without a TLS bind, a proxy in front of HAProxy may terminate TLS. HAProxy cannot know that, so it allows plain HTTP.
  const requireTls =
    httpsBinds.length === 0
      ? ''
      : '    http-request return status 403 content-type text/plain string "Use https: a token is sent here." if suite_host !{ ssl_fc }\n';
  return `
    # The suite, for external MCP clients (MCP_PUBLIC_HOST). Only the path /mcp is served under this name.
    acl suite_host var(txn.host) -m str ${publicHost}
    http-request return status 404 content-type text/plain string "Only /mcp is here." if suite_host !{ path /mcp }
${requireTls}    # An event stream can be idle for a long time, and a tool call can take an hour.
    http-request set-timeout client 70m if suite_host

`;
}

function publicBackend({ publicHost, api }: ConfigSettings): string {
  if (publicHost === undefined) return '';
  return `
# The suite. It does not trust HAProxy: every request needs a token, independent of X-Forwarded-For.
backend suite from clients
    # Each client gets its own connection, so that data of one client cannot become part of a request of another client.
    http-reuse never
    timeout server 70m
    server suite ${formatAddress({ host: connectHost(api.host), port: api.port })}
`;
}

/** The host for a connection to a listener. A listener on all addresses is reached through loopback. */
function connectHost(host: string): string {
  if (host === '0.0.0.0' || host === 'localhost') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

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
frontend metrics from clients
    bind ${bind}
    http-request use-service prometheus-exporter if { path /metrics }
    http-request return status 404 content-type text/plain string "See /metrics"
`;
}

/** HTML in one line and without double quotes, because it is inside a quoted string of the configuration. */
function page(title: string, text: string): string {
  return `<!doctype html><html lang=en><meta charset=utf-8><title>${title}</title><h1>${title}</h1><p>${text}</p></html>`;
}
