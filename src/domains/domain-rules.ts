import { cursorAfter, keyOfCursor, type Page, paginate } from '../contract/pages/page.js';
import { isWildcard } from '../model/names/domain-name.js';
import { AppError } from '../errors/app-error.js';
import { invalidField, invalidFields } from '../errors/invalid-fields.js';
import { describeDomain } from '../model/domain-view.js';
import { isPoolName, isSuiteBackend } from '../model/names/pool-name.js';
import { DEFAULT_HTTP_PORT, DEFAULT_WEIGHT, serverAddress, type ServerSpec } from '../model/server.js';
import type { Draft } from '../model/draft.js';
import { requirePool, type State, type StateReader } from '../model/state.js';
import { lowestFreePool, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import { type DeclaredMarks, checkMarks, type ExpiryLimits, setMarks } from './expiry-rules.js';
import { durationMs, expiryOf } from '../model/options/expiry.js';
import { hasLabel, labelsOf } from '../model/options/labels.js';
import { setServers } from '../servers/server-rules.js';
import type {
  AddDomainDto,
  DeclaredServerDto,
  DomainDto,
  ListDomainsDto,
  RemoveDomainDto,
  RemovedDomainDto,
} from './domains.dto.js';

/** What limits a new domain: the number of pools, and the slots of a pool (HAPROXY_MAX_SLOTS). */
export interface DomainLimits extends ExpiryLimits {
  pools: PoolLimit;
  slots: number;
}

/** What a domain should be, as PUT and an import with mode=put give it. */
export type DeclaredDomain = Pick<
  AddDomainDto,
  'domain' | 'backend' | 'share_with' | 'servers' | 'ip' | 'http_port'
> &
  DeclaredMarks;

/** How many other domains of the pool each item of a list names. A list can have 1,000 items. */
export const SHARED_WITH_LISTED = 10;

/** To sort a domain takes about as long as to look at this many in the sorted list. */
const SORT_COST = 8;

/** Sorts after all wildcards (`*.`) and before all other domains: `.` < `/`, and `*` < digits < letters. */
const AFTER_WILDCARDS = '*/';

/**
 * One page of the domains that match the query, sorted by name. Reads the search index of the state, so it is fast. `now`:
 * the latest time that it can be.
 */
export function domainPage(state: State, input: ListDomainsDto, now: number): Page<string> {
  if (input.label !== undefined || input.expires_within !== undefined)
    return paginate(markedDomains(state, input, now), (domain) => domain, input);
  const { items, more, total } = state.domainIndex(input.pool).page({
    needle: input.search?.toLowerCase(),
    from: input.include_wildcards ? undefined : AFTER_WILDCARDS,
    after: keyOfCursor(input),
    limit: input.limit,
  });
  return { items, next_cursor: more ? cursorAfter(items, (name) => name) : null, total };
}

/** The domains that match a query with a filter by label or expiry. Only domains with a site have either. */
function markedDomains(state: State, input: ListDomainsDto, now: number): string[] {
  const { label, expires_within, pool, search, include_wildcards } = input;
  const needle = search?.toLowerCase() ?? '';
  const latest = now + (durationMs(expires_within ?? '') ?? 0);
  const isMatch = (domain: string): boolean => {
    const site = state.site(domain);
    if (!site || !domain.includes(needle) || (!include_wildcards && isWildcard(domain))) return false;
    if (expires_within !== undefined && (expiryOf(site) ?? Infinity) > latest) return false;
    if (label !== undefined && !hasLabel(labelsOf(site), label)) return false;
    return pool === undefined || state.poolOf(domain) === pool;
  };
  // To sort 100,000 names takes longer than to look through all of them.
  return state.sites.size * SORT_COST > state.domainCount
    ? state.sortedDomains().filter((domain) => isMatch(domain))
    : [...state.sites.keys()].filter((domain) => isMatch(domain)).toSorted();
}

/** @throws AppError validation_failed if two fields contradict each other, or for an invalid backend */
export function checkAddDomain(input: DeclaredDomain): void {
  checkMarks(input);
  const given = (['ip', 'servers', 'share_with', 'backend'] as const).filter(
    (name) => input[name] !== undefined,
  );
  if (given.length > 1)
    throw invalidFields(
      given.map((field) => ({
        field,
        message: `is not allowed together with ${given.filter((other) => other !== field).join(' and ')}`,
      })),
      "Give only one of ip or servers (a pool of its own), share_with (the pool of another domain) and backend (the operator's backend).",
    );
  if (input.servers !== undefined) checkServers(input.servers, input.http_port);
  else if (given.length > 0 && input.ip === undefined) refuseLonePort(input);
  const { backend } = input;
  if (backend === undefined) return;
  if (isPoolName(backend))
    throw invalidBackend(`${backend} is a pool of the suite; use share_with with one of its domains`);
  if (isSuiteBackend(backend)) throw invalidBackend(`${backend} belongs to the suite's own rules`);
}

/** A validation_failed error of the field `backend`. */
export function invalidBackend(reason: string): AppError {
  return invalidField('backend', `must be the name of a backend that haproxy.cfg declares: ${reason}`);
}

/** Some clients send the default port with every call. @throws AppError validation_failed */
export function refuseLonePort({ http_port }: Pick<AddDomainDto, 'http_port'>): void {
  if (http_port !== undefined && http_port !== DEFAULT_HTTP_PORT)
    throw invalidField('http_port', 'is the port of ip, which is not given');
}

/**
 * `servers` must not name an address twice, and has the ports itself. Some clients send the default port with every call.
 */
function checkServers(servers: readonly DeclaredServerDto[], port: number | undefined): void {
  const seen = new Set<string>();
  const errors = servers.flatMap((server, index) => {
    const address = serverAddress(specOf(server));
    if (seen.has(address)) return [{ field: `servers[${index}]`, message: `names ${address} a second time` }];
    seen.add(address);
    return [];
  });
  if (port !== undefined && port !== DEFAULT_HTTP_PORT)
    errors.push({ field: 'http_port', message: 'belongs to ip. Give http_port in each of servers instead' });
  if (errors.length > 0) throw invalidFields(errors);
}

/** @throws AppError domain_exists, domain_not_found, pools_exhausted, pool_full */
export function addDomain(draft: Draft, input: DeclaredDomain, limits: DomainLimits): DomainDto {
  const { domain, backend, share_with } = input;
  if (draft.poolOf(domain) !== undefined) throw domainExistsError(draft, domain);
  if (backend !== undefined) draft.addDomain(domain, backend, true);
  else if (share_with !== undefined) draft.addDomain(domain, requirePool(draft, share_with).name);
  else {
    if (input.ip === undefined && input.servers === undefined) refuseLonePort(input);
    const pool = lowestFreePool(draft, limits.pools);
    draft.addDomain(domain, pool);
    const servers = serversOfNew(input);
    if (servers.length > 0) setServers(draft, domain, servers, limits.slots);
  }
  setMarks(draft, domain, input, limits);
  return describeDomain(draft, domain);
}

function serversOfNew({ ip, http_port, servers }: DeclaredDomain): ServerSpec[] {
  if (servers !== undefined) return servers.map((server) => specOf(server));
  return ip !== undefined ? [newServer(ip, http_port ?? DEFAULT_HTTP_PORT)] : [];
}

/** @throws AppError domain_exists, domain_not_found */
export function renameDomain(draft: Draft, domain: string, to: string): DomainDto {
  requirePool(draft, domain);
  if (draft.poolOf(to) !== undefined) {
    const existing = describeDomain(draft, to);
    throw new AppError(
      'domain_exists',
      domain === to
        ? `${to} is already the name of this domain.`
        : `${to} already exists in ${existing.pool}. Give another name, or remove ${to} first with {haproxy_remove_domain}.`,
      { existing },
    );
  }
  draft.renameDomain(domain, to);
  return describeDomain(draft, to);
}

/** @throws AppError domain_not_found, unless `missing_ok` */
export function removeDomain(
  draft: Draft,
  { domain, missing_ok }: Pick<RemoveDomainDto, 'domain' | 'missing_ok'>,
): RemovedDomainDto {
  if (missing_ok && draft.poolOf(domain) === undefined)
    return { domain, removed: false, pool_freed: false, servers_removed: 0 };
  const { name, pool } = requirePool(draft, domain);
  draft.removeDomain(domain);
  const freed = pool.domains.length === 1;
  return {
    domain,
    removed: true,
    pool: name,
    pool_freed: freed,
    servers_removed: freed ? pool.servers.size : 0,
  };
}

export function newServer(ip: string, http_port: number): ServerSpec {
  return { ip, http_port, weight: DEFAULT_WEIGHT, state: 'ready' };
}

/** A declared server. What it does not say has the default: the list replaces the whole. */
export function specOf({ ip, http_port, weight, state }: DeclaredServerDto): ServerSpec {
  return {
    ip,
    http_port: http_port ?? DEFAULT_HTTP_PORT,
    weight: weight ?? DEFAULT_WEIGHT,
    state: state ?? 'ready',
  };
}

function domainExistsError(state: StateReader, domain: string): AppError {
  const existing = describeDomain(state, domain);
  return new AppError(
    'domain_exists',
    existing.external
      ? `${domain} already points at the backend ${existing.pool}. Remove the domain first with {haproxy_remove_domain}.`
      : `${domain} already exists in ${existing.pool} with ${existing.server_count} server(s). Change its servers with ` +
          '{haproxy_add_server} and {haproxy_remove_server}, or remove the domain first with {haproxy_remove_domain}.',
    { existing },
  );
}
