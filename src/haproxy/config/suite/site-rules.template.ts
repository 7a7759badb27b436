import { RATE_WINDOWS, REDIRECT_CODES } from '../../../model/sites/site-options.js';
import { LIMIT_FIELD, OWNER_FIELDS, type SiteMap } from '../../../model/sites/site-maps.js';
import { PREFIX_PAIRS, prefixMark } from '../../../model/sites/networks.js';
import { runFiles } from '../../../settings/run-files.js';
import type { Settings } from '../../../settings/settings.js';
import { errorPage } from '../error-page.js';

type SiteFiles = Readonly<Record<SiteMap, string>>;
type NetworkMap = 'allow' | 'deny' | 'except';

/** When a client should try again during maintenance, in seconds. */
const RETRY_AFTER = 300;

/**
 * The rules that carry out the options of a site, in the order of the documentation (docs/sites.md). Each rule first
 * looks for its word in `txn.suite_site`, which a site without options does not have.
 */
export function siteOptionRules({
  files,
  httpsBinds,
  trustedProxies,
}: Pick<Settings, 'files' | 'httpsBinds' | 'trustedProxies'>): string {
  const { sites } = files;
  return `
    # The options of a site. suite_site has its words between commas, then after each "|" the name that an option is of.
    http-request set-var(txn.suite_name) var(txn.host) if { var(txn.suite_site) -m found } !{ var(txn.suite_name) -m found }
${networkAcl('deny', sites)}${networkAcl('allow', sites)}${networkAcl('except', sites)}${owner('deny')}    http-request return status 403 content-type "text/html; charset=utf-8" string "${FORBIDDEN}" if ${word('deny')} suite_deny
${owner('allow')}    http-request return status 403 content-type "text/html; charset=utf-8" string "${FORBIDDEN}" if ${word('allow')} !suite_allow
${REDIRECT_CODES.map((code) => redirect(code, sites)).join('')}    http-request redirect prefix https://%[req.hdr(host),field(1,:)]${trustedProxies.length === 0 ? httpsPort(httpsBinds) : ''} code 308 if ${word('https')} !{ var(txn.suite_scheme) -m str https }
${maintenance(sites)}${rateLimit()}`;
}

/**
 * The tables that count the requests of each client to each site with `rate_limit`. A client is an IPv4 address or a /64 of
 * IPv6. With `keeps`, the worker of before a reload sends its tables to the next one, as a peer does, through a socket in
 * the folder of the Runtime API; only a HAProxy of the suite surely has this folder.
 */
export function rateTables({ rateClients, folders, control }: RateSettings): string {
  const socket = runFiles(folders.run).peersSocket;
  const keeps = control === 'managed' && socket.length <= MAX_SOCKET_PATH;
  const peers = `
peers suite_peers
    bind unix@${socket} mode 600
    server "\${HAPROXY_LOCALPEER-suite}"
`;
  const tables = RATE_WINDOWS.map(
    (seconds) => `
backend suite_rates_${seconds} from suite_clients
    stick-table type binary len 8 size ${rateClients} expire ${seconds}s store http_req_rate(${seconds}s)${keeps ? ' peers suite_peers' : ''}
`,
  );
  return `
# The clients of sites with rate_limit.${keeps ? peers : ''}${tables.join('')}`;
}

/** HAProxy adds to the path of a socket while it binds it, and Linux allows 107 characters. */
const MAX_SOCKET_PATH = 85;

type RateSettings = Pick<Settings, 'rateClients' | 'folders' | 'control'>;

/** Counters 0 and 1 stay free for rules of the operator. */
function rateLimit(): string {
  const tracks = RATE_WINDOWS.map(
    (seconds) =>
      `    http-request track-sc2 src,ipmask(32,64),hex,concat(|,txn.suite_name),xxh64 table suite_rates_${seconds} if ${word(`rate-${seconds}`)}
`,
  );
  return `${tracks.join('')}    http-request set-var(txn.suite_limit) var(txn.suite_site),field(${LIMIT_FIELD},|) if { var(txn.suite_site) -m sub ,rate- }
    http-request return status 429 content-type "text/html; charset=utf-8" hdr Retry-After 10 string "${LIMITED}" if { var(txn.suite_limit) -m found } { sc2_http_req_rate,sub(txn.suite_limit) gt 0 }
`;
}

/** The headers of each response of a site, also of those that HAProxy makes. */
export function siteResponseRules(sites: SiteFiles): string {
  return `    http-after-response set-header Strict-Transport-Security max-age=%[var(txn.suite_name),map_str(${sites.https})] if ${word('hsts')} { var(txn.suite_scheme) -m str https }
    http-after-response set-header X-Robots-Tag noindex if ${word('noindex')}

`;
}

const FORBIDDEN = errorPage('403 Forbidden', 'Your address may not use this site.');
const LIMITED = errorPage('429 Too many requests', 'Please wait before you try again.');
const MAINTENANCE = errorPage(
  '503 Maintenance',
  'This site is closed for a short time. Please come back later.',
);

function word(name: string): string {
  return `{ var(txn.suite_site) -m sub ,${name}, }`;
}

/** Sets the name that an option is of: the site itself, or the wildcard that covers it. */
function owner(option: keyof typeof OWNER_FIELDS): string {
  return `    http-request set-var(txn.suite_${option}) var(txn.suite_site),field(${OWNER_FIELDS[option]},|) if ${word(option)}
`;
}

/** Whether the client is in a network of the option. Each line looks up its address with one prefix length of each family. */
function networkAcl(map: NetworkMap, sites: SiteFiles): string {
  const name = map === 'except' ? 'maintenance' : map;
  return PREFIX_PAIRS.map(
    (pair) =>
      `    acl suite_${map} src,ipmask(${pair.v4},${pair.v6}),hex,concat(${prefixMark(pair)},txn.suite_${name}),map_str(${sites[map]}) -m found
`,
  ).join('');
}

/** The path and the query of the request are added to the URL. */
function redirect(code: number, sites: SiteFiles): string {
  return `    http-request redirect prefix %[str(${code}),concat(|,txn.suite_name),map_str(${sites.redirects})] code ${code} if ${word(`redirect-${code}`)}
`;
}

function maintenance(sites: SiteFiles): string {
  const answer = `http-request return status 503 content-type "text/html; charset=utf-8" hdr Retry-After ${RETRY_AFTER} hdr Cache-Control no-store`;
  const closed = `${word('maintenance')} !suite_except`;
  return `${owner('maintenance')}    ${answer} lf-string "%[var(txn.suite_maintenance),map_str(${sites.pages}),b64dec]" if ${word('page')} ${closed}
    ${answer} string "${MAINTENANCE}" if ${closed}
`;
}

/** The port of the first HTTPS bind, if it is not 443. Visitors of a proxy in front use the port of that proxy. */
function httpsPort(binds: readonly string[]): string {
  const port = /:(\d+)$/.exec(binds[0] ?? '')?.[1];
  return port === undefined || port === '443' ? '' : `:${port}`;
}
