import { isIP } from 'node:net';
import { isWildcard, knownDomain, wildcardOf } from '../names/domain-name.js';
import type { SiteOptions } from '../options/options.js';
import { countNetworkKeys, hasHostBits, hiddenIpv4, MAX_NETWORK_KEYS, withoutHostBits } from './networks.js';
import { knownOptions, type MaintenanceOption, RATE_WINDOWS, type RedirectOption } from './site-options.js';

/** Why an option cannot be used, and which part of it. */
export interface OptionProblem {
  /** The field, such as `allow[3]`. */
  field: string;
  /** What is wrong, as text after the name of the field. */
  message: string;
}

const MAX_PAGE_BYTES = 8192;
/** The characters of a word of the Runtime API that a URL may have, without the `?` that begins a query. */
const REDIRECT_TO =
  /^https?:\/\/(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?(?:\/[!$-&(-.0-:=@-[\]_a-~/]*)?$/;
const MAX_REDIRECT_TO = 1000;
/** An option that this version stores and does not carry out. */
const NOT_YET = new Map([
  ['basic_auth', 'is not possible yet: this version of the suite has no passwords for sites'],
]);

/**
 * The first problem of one option whose form is valid (`findSiteProblem`): what the rules in HAProxy cannot carry out.
 * Undefined for labels and expiry.
 */
export function findOptionProblem(option: string, value: unknown): OptionProblem | undefined {
  const { https, redirect, maintenance, rate_limit, allow, deny } = knownOptions({ [option]: value });
  const reason = NOT_YET.get(option);
  if (reason !== undefined) return { field: option, message: reason };
  if (https === 'auto')
    return {
      field: option,
      message: 'cannot be auto yet. Get a certificate with {haproxy_issue_cert}, then set https to redirect',
    };
  if (redirect) return redirectProblem(redirect);
  if (maintenance) return maintenanceProblem(maintenance);
  if (rate_limit && !RATE_WINDOWS.some((window) => window === rate_limit.window_seconds))
    return { field: 'rate_limit.window_seconds', message: `must be one of ${RATE_WINDOWS.join(', ')}` };
  return networksProblem(option, allow ?? deny);
}

function redirectProblem({ to }: RedirectOption): OptionProblem | undefined {
  const field = 'redirect.to';
  if (to.length > MAX_REDIRECT_TO)
    return { field, message: `must have at most ${MAX_REDIRECT_TO} characters` };
  return REDIRECT_TO.test(to)
    ? undefined
    : {
        field,
        message:
          'must be http:// or https:// with a host, and perhaps a port and a path, such as https://example.com. The path and the ' +
          'query of each request are added, so it has no ? and no #',
      };
}

function maintenanceProblem({ page, except }: MaintenanceOption): OptionProblem | undefined {
  const field = 'maintenance.page';
  if (page !== undefined && Buffer.byteLength(page) > MAX_PAGE_BYTES)
    return {
      field,
      message: `has ${Buffer.byteLength(page)} bytes, and at most ${MAX_PAGE_BYTES} are possible`,
    };
  // Tabs, line ends and the C1 controls of Latin-1 are allowed.
  if (page !== undefined && /[^\P{Cc}\t\n\r\u0080-\u009f]|\p{Cs}/u.test(page))
    return { field, message: 'must be text without control characters' };
  return networksProblem('maintenance.except', except, true);
}

function networksProblem(
  field: string,
  networks: readonly string[] | undefined,
  mayBeEmpty = false,
): OptionProblem | undefined {
  if (!networks) return undefined;
  if (networks.length === 0 && !mayBeEmpty)
    return {
      field,
      message:
        field === 'allow'
          ? 'must not be empty, because no client could reach the site. Use maintenance to close a site'
          : 'must not be empty. Leave it out',
    };
  const wrong = networks.findIndex((network) => hasHostBits(network));
  if (wrong >= 0) {
    const network = networks[wrong] ?? '';
    return {
      field: `${field}[${wrong}]`,
      message: `has bits after the prefix. Give ${withoutHostBits(network)} for the network, or ${network.split('/')[0]} for the address`,
    };
  }
  for (const [index, network] of networks.entries()) {
    const ipv4 = hiddenIpv4(network);
    if (ipv4 !== undefined)
      return {
        field: `${field}[${index}]`,
        message: `has IPv6 addresses that HAProxy reads as IPv4, so it would mean ${ipv4}. Give ${ipv4} if you mean these addresses, or leave it out`,
      };
  }
  const counts = networks.map((network) => countNetworkKeys(network));
  const keys = counts.reduce((sum, count) => sum + count, 0);
  if (keys <= MAX_NETWORK_KEYS) return undefined;
  const largest = counts.indexOf(Math.max(...counts));
  return {
    field,
    message:
      `needs ${keys} keys in HAProxy (${networks[largest]} needs ${counts[largest]}), and a list may need ${MAX_NETWORK_KEYS}. ` +
      'IPv4 networks of /8, /16, /24 and /32 and IPv6 networks of /8, /16, /32, /48, /64 and /128 need one key each',
  };
}

/** The first problem of the options of a site whose form is valid. */
export function findSiteRuleProblem(site: SiteOptions): OptionProblem | undefined {
  for (const [option, value] of Object.entries(site)) {
    const problem = findOptionProblem(option, value);
    if (problem) return problem;
  }
  return undefined;
}

/** The part of a state that redirects depend on. */
interface RedirectReader {
  poolOf(domain: string): string | undefined;
  site(host: string): SiteOptions | undefined;
}

/**
 * The sites of a circle of redirects that begins and ends at `domain`; undefined if its redirect ends. A URL with a port
 * other than 80 and 443 is no site of the suite.
 */
export function findRedirectCircle(reader: RedirectReader, domain: string): string[] | undefined {
  const path = [domain];
  let at = domain;
  for (;;) {
    const next = redirectTarget(reader, at);
    if (next === undefined) return undefined;
    path.push(next);
    if (next === domain) return path;
    // A circle that `domain` only leads to.
    if (path.indexOf(next) < path.length - 1) return path;
    at = next;
  }
}

function redirectTarget(reader: RedirectReader, domain: string): string | undefined {
  const { redirect } = knownOptions(reader.site(domain));
  if (!redirect || redirectProblem(redirect)) return undefined;
  const match = /^https?:\/\/(?<host>\[[^\]]*\]|[^/:]+)(?::(?<port>\d+))?/.exec(redirect.to);
  const port = match?.groups?.['port'];
  if (port !== undefined && !['80', '443'].includes(port)) return undefined;
  const host = match?.groups?.['host'] ?? '';
  const name = isIP(host) === 6 ? undefined : knownDomain(host);
  if (name === undefined || isWildcard(name)) return undefined;
  if (reader.poolOf(name) !== undefined) return name;
  const wildcard = wildcardOf(name);
  return wildcard !== undefined && reader.poolOf(wildcard) !== undefined ? wildcard : undefined;
}
