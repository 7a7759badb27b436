import type { Settings, SocketAddress } from '../../settings/settings.js';
import { nameOf } from '../runtime/transport.js';

/** What haproxy.cfg is made of; `Settings` is one. */
export type ConfigSettings = Pick<
  Settings,
  'runtime' | 'files' | 'folders' | 'httpBinds' | 'httpsBinds' | 'metricsBind' | 'api' | 'publicHost'
>;

/** What the machine cannot do is written as a comment, so that HAProxy starts and the operator sees it. */
export interface Machine {
  ipv6: boolean;
}

/**
 * The first haproxy.cfg. After that the file is the operator's, and is never written again: hence the comments.
 * Pure. `haproxy -c` has nothing to say on 3.0, 3.2 and 3.4, save that TLS fails as long as there is no certificate.
 */
export function renderConfig(settings: ConfigSettings, machine: Machine): string {
  const map = settings.files.map;
  return `# HAProxy configuration, written once by haproxy-suite. It is yours now: change what you like and reload.
# The suite relies on: the stats socket, the section "defaults pools", and the map lookups in "frontend web".
# HAProxy is started with this file and ${settings.files.pools} (generated: leave that one alone).

global
    # Starts, stops and health changes go to standard output; requests do not (see "defaults clients").
    log stdout format raw local0 notice
    # The Runtime API, through which the suite changes HAProxy. Whoever reaches it is its administrator.
    stats socket ${runtimeBind(settings.runtime)} level admin
    stats timeout 2m
    # After a reload or a stop, connections may last this long before they are cut.
    hard-stop-after 10m
    # Checks of many servers are spread, instead of all at once.
    spread-checks 5
    ssl-default-bind-options ssl-min-ver TLSv1.2
    # HTTP/3 also where HAProxy was built with an OpenSSL that has no QUIC interface of its own (3.0 in Debian).
    limited-quic

# For what clients talk to.
defaults clients
    mode http
    # A line for each request: take the "#" away from the next two lines.
    #log stdout format raw local0 info
    #option httplog
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    # The whole head of a request must arrive in this time.
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout tunnel 1h
    # On a reload or stop an idle client connection ends with its next answer, not in the middle of a new request.
    option idle-close-on-response

# For the generated backends: "backend pool_N from pools".
defaults pools
    mode http
    log global
    balance roundrobin
    timeout connect 5s
    timeout server 1m
    timeout queue 10s
    timeout tunnel 1h
    # A server that cannot be reached, or closes without an answer, is not the client's problem: try another at once.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
    http-error status 503 content-type "text/html; charset=utf-8" string "${page('503 Service unavailable', 'No server of this site can answer now. Please try again later.')}"

frontend web from clients
${settings.httpBinds.map((bind) => httpBind(bind, machine)).join('')}${settings.httpsBinds.map((bind) => httpsBinds(bind, settings.folders.certs, machine)).join('')}
    # Every request to https instead: take the "#" away.
    #http-request redirect scheme https code 308 unless { ssl_fc }

    # Who asks, and how. What the client itself wrote there is replaced.
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    # Only requests that may be repeated are tried again after they were sent.
    http-request disable-l7-retry unless { method GET HEAD OPTIONS }

    # Host (port, case and a last dot do not count) -> pool, as ${map} says. An exact name wins over a
    # wildcard; "*.example.com" is kept there as ".example.com". Both are tree look-ups, however long the map is.
    http-request set-var(txn.host) req.hdr(host),field(1,:),lower,rtrim(.)
${publicFrontend(settings)}    http-request set-var(txn.pool) var(txn.host),map_str(${map}) unless { var(txn.host) -m beg . }
    http-request set-var(txn.pool) var(txn.host),regsub(^[^.]*,),map_str(${map}) unless { var(txn.pool) -m found } || { var(txn.host) -m beg . }
${settings.publicHost === undefined ? '' : '    use_backend suite if suite_host\n'}    use_backend %[var(txn.pool)] if { var(txn.pool) -m found }
    default_backend unknown_host
${altSvc(settings)}
# A host that no domain matches.
backend unknown_host from clients
    http-request return status 404 content-type "text/html; charset=utf-8" string "${page('404 Unknown host', 'No site of this name is served here.')}"
${publicBackend(settings)}${exporter(settings.metricsBind)}`;
}

/** What makes the suite reachable from outside: one name, one path, and a token, which the suite asks for. */
function publicFrontend({ publicHost, httpsBinds }: ConfigSettings): string {
  if (publicHost === undefined) return '';
  // Without a TLS bind of its own HAProxy cannot know whether whoever is in front of it speaks TLS.
  const onlyTls =
    httpsBinds.length === 0
      ? ''
      : '    http-request return status 403 content-type text/plain string "Use https: a token is sent here." if suite_host !{ ssl_fc }\n';
  return `
    # The suite itself, for MCP clients outside (MCP_PUBLIC_HOST): this name, the path /mcp, nothing else of it.
    acl suite_host var(txn.host) -m str ${publicHost}
    http-request return status 404 content-type text/plain string "Only /mcp is here." if suite_host !{ path /mcp }
${onlyTls}    # A listening stream is quiet for long, and a tool may wait for an hour.
    http-request set-timeout client 70m if suite_host

`;
}

function publicBackend({ publicHost, api }: ConfigSettings): string {
  if (publicHost === undefined) return '';
  return `
# The suite. It takes HAProxy for a stranger: every request needs a token, whatever X-Forwarded-For says.
backend suite from clients
    # A connection serves one client only, so that nothing one of them sends can end up in another's request.
    http-reuse never
    timeout server 70m
    server suite ${nameOf({ host: reachable(api.host), port: api.port })}
`;
}

/** Where to connect to what listens on every address. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === 'localhost') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** localhost is bound as 127.0.0.1: a machine may have no ::1, and who connects to the name tries both. */
function runtimeBind(address: SocketAddress): string {
  if ('path' in address) return `${address.path} mode 600`;
  return nameOf(address.host === 'localhost' ? { host: '127.0.0.1', port: address.port } : address);
}

function httpBind(bind: string, machine: Machine): string {
  return `    ${usable(bind, machine)}bind ${bind}${v6only(bind)}\n`;
}

/**
 * `strict-sni` makes an empty folder of certificates legal: a handshake then fails until there is a certificate for
 * the name, and plain HTTP works from the start.
 */
function httpsBinds(bind: string, certificates: string, machine: Machine): string {
  const tls = `ssl crt ${certificates}/ strict-sni`;
  const quic = bind.startsWith('[') ? 'quic6' : 'quic4';
  const start = `    ${usable(bind, machine)}bind`;
  return `${start} ${bind}${v6only(bind)} ${tls} alpn h2,http/1.1\n${start} ${quic}@${bind}${v6only(bind)} ${tls} alpn h3\n`;
}

/** Without it an IPv6 wildcard takes the IPv4 port as well. */
function v6only(bind: string): string {
  return bind.startsWith('[') ? ' v6only' : '';
}

function usable(bind: string, machine: Machine): string {
  return bind.startsWith('[') && !machine.ipv6 ? '#(this machine had no IPv6) ' : '';
}

function altSvc(settings: ConfigSettings): string {
  if (settings.httpsBinds.length === 0) return '';
  return `    # Tells browsers that HTTP/3 is served on the same port.
    http-after-response set-header alt-svc "h3=\\":%[dst_port]\\"; ma=86400" if { ssl_fc }
`;
}

function exporter(bind: string): string {
  if (bind === '') return '';
  return `
# HAProxy's own figures for Prometheus.
frontend metrics from clients
    bind ${bind}
    http-request use-service prometheus-exporter if { path /metrics }
    http-request return status 404 content-type text/plain string "See /metrics"
`;
}

/** One line, no double quotes: it stands inside a quoted word of the configuration. */
function page(title: string, text: string): string {
  return `<!doctype html><html lang=en><meta charset=utf-8><title>${title}</title><h1>${title}</h1><p>${text}</p></html>`;
}
