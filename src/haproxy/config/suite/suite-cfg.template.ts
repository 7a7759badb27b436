import { createHash } from 'node:crypto';
import type { Settings } from '../../../settings/settings.js';
import { formatAddress } from '../../runtime/transport.js';
import { CLIENT_CLAIMS } from './client-claims.js';
import { errorPage } from '../error-page.js';
import { RULES_NUMBER } from './rules-version.js';
import { rateTables, siteOptionRules, siteResponseRules } from './site-rules.template.js';

/** The settings that suite.cfg depends on. */
type RulesSettings = Pick<
  Settings,
  | 'files'
  | 'folders'
  | 'control'
  | 'httpsBinds'
  | 'api'
  | 'publicHost'
  | 'trustedProxies'
  | 'proxyProtocolFrom'
  | 'rateClients'
>;

/** A file of the operator that becomes a part of suite.cfg. */
export interface IncludedFile {
  path: string;
  /** Empty if there is no such file. */
  text: string;
}

export interface SuiteCfgInput {
  /** The id of this node in the header CDN-Loop. */
  nodeId: string;
  /** Lines for the section `global`. */
  beforeGlobal: IncludedFile;
  /** Rules that run before the rules of the suite. */
  beforeRules: IncludedFile;
}

export interface SuiteCfg {
  text: string;
  /** The value of `proc.suite_rules` in a HAProxy that has loaded this text. */
  version: string;
}

/** How many proxies in a row HAProxy follows in X-Forwarded-For. */
const MAX_PROXIES = 5;
/** HAProxy reads at most 64 words of a line. */
const NETWORKS_PER_LINE = 40;

/**
 * suite.cfg: the rules of the suite in named `defaults` sections, and internal backends. Pure. Every section, ACL and
 * variable begins with `suite_`, so that it cannot collide with haproxy.cfg. `txn.host` and `txn.pool` are the
 * exceptions: haproxy.cfg uses them. The last section has no rules, because a backend without `from` takes it.
 */
export function renderSuiteCfg(settings: RulesSettings, input: SuiteCfgInput): SuiteCfg {
  const body = sections(settings, input);
  const digest = createHash('sha256').update(body).digest('hex').slice(0, 16);
  const version = `${RULES_NUMBER}-${digest}`;
  return { text: body.replace('{version}', version), version };
}

function sections(settings: RulesSettings, { nodeId, beforeGlobal, beforeRules }: SuiteCfgInput): string {
  const { files } = settings;
  return `# haproxy-suite generates this file at each start and before each reload. Do not edit it.
# Your own rules: ${beforeRules.path} (before the rules of the suite), or the frontends of ${files.config} (after them).
# HAProxy starts with -f ${files.suite} -f ${files.config} -f ${files.pools}

global
${included(beforeGlobal)}    # The suite reads this value back from HAProxy, to know which rules it has.
    set-var proc.suite_rules str({version})

defaults suite_clients
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    # The longest time until all headers of a request have arrived.
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout tunnel 1h
    # After a reload or a stop, HAProxy closes an idle client connection with its next response, so no request fails.
    option idle-close-on-response

# The rules for each frontend that serves the domains: "frontend web from suite_web".
defaults suite_web from suite_clients
${proxyProtocol(settings.proxyProtocolFrom)}${included(beforeRules)}${HOST}${acmeChallenge(files.acmeMap)}${loopGuard(nodeId)}${addresses(settings.trustedProxies)}${forwardingHeaders(settings.trustedProxies)}    # HAProxy retries a request that it has already sent only if the method is safe to repeat.
    http-request disable-l7-retry unless { method GET HEAD OPTIONS }

${routing(files.map, files.sites.sites)}${publicHostRules(settings)}${siteOptionRules(settings)}${siteResponseRules(files.sites)}    default_backend suite_unknown_host

# Requests for a host that matches no domain.
backend suite_unknown_host from suite_clients
    http-request return status 404 content-type "text/html; charset=utf-8" string "${errorPage('404 Unknown host', 'No site of this name is served here.')}"
${publicBackend(settings)}${rateTables(settings)}
# A section of the next file that names no other "defaults" section takes this one. It has no settings and no rules.
defaults suite_end
`;
}

/** The lines of an operator's file, each below a comment with its file and line. */
function included({ path, text }: IncludedFile): string {
  const lines = text.split('\n').flatMap((line, index) => {
    const content = line.trim();
    return content === '' || content.startsWith('#') ? [] : [`    # ${path}:${index + 1}`, `    ${content}`];
  });
  return lines.length === 0 ? '' : `${lines.join('\n')}\n\n`;
}

/** The place that a comment of `included` names. */
export const INCLUDED_FROM = /^ {4}# (?<path>\/\S+):(?<line>\d+)$/;

function proxyProtocol(networks: readonly string[]): string {
  if (networks.length === 0) return '';
  return `    # PROXY_PROTOCOL_FROM: the header of the PROXY protocol has the address of the client.
${networkAcl('suite_sends_proxy', networks)}    tcp-request connection expect-proxy layer4 if suite_sends_proxy

`;
}

const HOST = `    # The host that the client asks for: the port, the case and a final dot are ignored.
    http-request set-var(txn.host) req.hdr(host),field(1,:),lower,rtrim(.)
`;

/**
 * RFC 8555, section 8.3 (HTTP-01). The map has the names for which the suite requests a certificate, each with the thumbprint
 * of its account. Challenges of all other names go to their servers. With `opt@`, HAProxy starts without the file.
 */
function acmeChallenge(map: string): string {
  return `    # The suite requests a certificate for the names in ${map}: HAProxy answers their ACME challenges.
    http-request set-var(txn.suite_acme) var(txn.host),map_str(opt@${map}) if { path_beg /.well-known/acme-challenge/ }
    http-request return status 200 content-type text/plain lf-string "%[path,field(-1,/)].%[var(txn.suite_acme)]" if { var(txn.suite_acme) -m found } { path_reg ^/\\.well-known/acme-challenge/[A-Za-z0-9_-]{1,200}$ }

`;
}

/** RFC 8586. The first and the second pass through this node add an id each, and the third gets the answer 508. */
function loopGuard(nodeId: string): string {
  return `    # A request that comes back to this node: the third pass ends the loop (RFC 8586).
    http-request return status 508 content-type "text/html; charset=utf-8" string "${errorPage('508 Loop detected', 'A server of this site sends the request back to this proxy.')}" if { req.hdr(cdn-loop) -m str ${nodeId}-2 }
    http-request add-header CDN-Loop ${nodeId}-2 if { req.hdr(cdn-loop) -m str ${nodeId} }
    http-request add-header CDN-Loop ${nodeId} unless { req.hdr(cdn-loop) -m str ${nodeId} }

`;
}

/** Sets `src` and `txn.suite_scheme` to the address and the scheme of the client. */
function addresses(networks: readonly string[]): string {
  const own = `    http-request set-var(txn.suite_scheme) ssl_fc,iif(https,http)
`;
  if (networks.length === 0) return own;
  const hops = Array.from({ length: MAX_PROXIES }, (_, index) => index + 1).map(
    (hop) =>
      `    http-request set-src req.hdr_ip(x-forwarded-for,-${hop}) if suite_from_proxy${earlierAddresses(hop)}\n`,
  );
  return `    # TRUSTED_PROXIES: from these networks HAProxy believes X-Forwarded-Proto, and X-Forwarded-For from its end to the
    # first address that is none of these proxies. Each "set-src" changes the "src" of the next line.
${networkAcl('suite_from_proxy', networks)}${own}    http-request set-var(txn.suite_port) dst_port
    http-request set-var(txn.suite_scheme) req.hdr(x-forwarded-proto,-1),lower if suite_from_proxy { req.hdr(x-forwarded-proto,-1) -i -m str http https }
    http-request set-var(txn.suite_port) int(443) if suite_from_proxy { req.hdr(x-forwarded-proto,-1) -i -m str https }
    http-request set-var(txn.suite_port) int(80) if suite_from_proxy { req.hdr(x-forwarded-proto,-1) -i -m str http }
    http-request set-var(txn.suite_port) req.hdr(host),port_only if suite_from_proxy { req.hdr(host),port_only gt 0 }
${hops.join('')}`;
}

/** Conditions: the proxies before this one wrote addresses. Otherwise the entry before could be the client's own text. */
function earlierAddresses(hop: number): string {
  const places = Array.from({ length: hop - 1 }, (_, index) => index + 1);
  return places.map((place) => ` { req.hdr_ip(x-forwarded-for,-${place}) -m found }`).join('');
}

/** Deletes what the client says about itself, and sets what HAProxy knows. */
function forwardingHeaders(networks: readonly string[]): string {
  const port = networks.length === 0 ? 'dst_port' : 'var(txn.suite_port)';
  return `    # A server that is a proxy deletes the headers that Connection names, so a client could delete the headers below.
    http-request set-header Connection Upgrade if { req.hdr(connection) -i -m str upgrade }
    http-request del-header Connection unless { req.hdr(connection) -i -m str upgrade }
    # A client cannot set these headers. Servers that see "_" or "." as "-" (CGI, WSGI, PHP) get no other spelling either.
    http-request del-header '${CLIENT_CLAIMS}' -m reg
    http-request add-header X-Forwarded-For %[src]
    http-request add-header X-Forwarded-Proto %[var(txn.suite_scheme)]
    http-request add-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found }
    http-request add-header X-Forwarded-Port %[${port}]
    http-request add-header X-Real-IP %[src]
`;
}

function routing(map: string, sites: string): string {
  return `    # Finds the pool of the Host in ${map}. An exact name has priority over a wildcard. The map
    # stores "*.example.com" as ".example.com". Both lookups use a tree, so a large map is fast.
    http-request set-var(txn.pool) var(txn.host),map_str(${map}) unless { var(txn.host) -m beg . }
    # suite_site: the options of the name that matched, from ${sites}.
    http-request set-var(txn.suite_site) var(txn.host),map_str(${sites}) if { var(txn.pool) -m found }
    http-request set-var(txn.suite_name) var(txn.host),regsub(^[^.]*,) unless { var(txn.pool) -m found } || { var(txn.host) -m beg . }
    http-request set-var(txn.pool) var(txn.suite_name),map_str(${map}) if { var(txn.suite_name) -m found }
    http-request set-var(txn.suite_site) var(txn.suite_name),map_str(${sites}) if { var(txn.suite_name) -m found } { var(txn.pool) -m found }
`;
}

/** The rules that publish the suite under MCP_PUBLIC_HOST: only the path /mcp. The suite itself checks the token. */
function publicHostRules({ publicHost, httpsBinds }: RulesSettings): string {
  if (publicHost === undefined) return '\n';
  // Without a TLS bind, a proxy in front of HAProxy may terminate TLS. HAProxy cannot know that, so it allows plain HTTP.
  const requireTls =
    httpsBinds.length === 0
      ? ''
      : '    http-request return status 403 content-type text/plain string "Use https: a token is sent here." if suite_is_mcp !{ var(txn.suite_scheme) -m str https }\n';
  return `
    # The suite, for external MCP clients (MCP_PUBLIC_HOST). Only the path /mcp is served under this name.
    acl suite_is_mcp var(txn.host) -m str ${publicHost}
    http-request return status 404 content-type text/plain string "Only /mcp is here." if suite_is_mcp !{ path /mcp }
${requireTls}    # An event stream can be idle for a long time, and a tool call can take an hour.
    http-request set-timeout client 70m if suite_is_mcp
    http-request set-var(txn.pool) str(suite_mcp) if suite_is_mcp
    http-request unset-var(txn.suite_site) if suite_is_mcp

`;
}

function publicBackend({ publicHost, api }: RulesSettings): string {
  if (publicHost === undefined) return '';
  return `
# The suite. It does not trust HAProxy: every request needs a token, independent of X-Forwarded-For.
backend suite_mcp from suite_clients
    # Each client gets its own connection, so that data of one client cannot become part of a request of another client.
    http-reuse never
    timeout server 70m
    server suite_mcp ${formatAddress({ host: connectHost(api.host), port: api.port })}
`;
}

/** The host for a connection to a listener. A listener on all addresses is reached through loopback. */
function connectHost(host: string): string {
  if (host === '0.0.0.0' || host === 'localhost') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** Several lines with one name are one ACL: it matches if one of the lines matches. */
function networkAcl(name: string, networks: readonly string[]): string {
  let text = '';
  for (let start = 0; start < networks.length; start += NETWORKS_PER_LINE)
    text += `    acl ${name} src ${networks.slice(start, start + NETWORKS_PER_LINE).join(' ')}\n`;
  return text;
}
