import { cursorAfter, keyOfCursor, type Page } from '../contract/pages/page.js';
import { isWildcard } from '../model/domain-name.js';
import { AppError } from '../errors/app-error.js';
import { invalidField, invalidFields } from '../errors/invalid-fields.js';
import { isPoolName, isSuiteBackend, poolName } from '../model/pool-name.js';
import { DEFAULT_WEIGHT, type ServerSpec } from '../model/server.js';
import { type Draft, type Pool, requirePool, type State, type StateReader } from '../model/state.js';
import { poolsExhausted, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import type { AddDomainDto, DomainDto, ListDomainsDto, RemovedDomainDto } from './domains.dto.js';

/** How many other domains of the pool an answer names. A pool can have 100,000. */
const SHARED_WITH_SHOWN = 100;
/** The same for each item of a list, which can have 1,000 items. */
export const SHARED_WITH_LISTED = 10;

/** Sorts after all wildcards (`*.`) and before all other domains: `.` < `/`, and `*` < digits < letters. */
const AFTER_WILDCARDS = '*/';

/** One page of the domains that match the query, sorted by name. Reads the search index of the state, so it is fast. */
export function domainPage(state: State, input: ListDomainsDto): Page<string> {
  const { items, more, total } = state.domainIndex(input.pool).page({
    needle: input.search?.toLowerCase(),
    from: input.include_wildcards ? undefined : AFTER_WILDCARDS,
    after: keyOfCursor(input),
    limit: input.limit,
  });
  return { items, next_cursor: more ? cursorAfter(items, (name) => name) : null, total };
}

/**
 * The domain as callers see it, with at most `shown` other domains of its pool.
 *
 * @throws AppError domain_not_found
 */
export function describeDomain(state: StateReader, domain: string, shown = SHARED_WITH_SHOWN): DomainDto {
  const { name, pool } = requirePool(state, domain);
  return {
    domain,
    pool: name,
    wildcard: isWildcard(domain),
    external: pool.external ?? false,
    shared_with: otherDomains(pool, domain, shown),
    shared_count: pool.domains.length - 1,
    server_count: pool.servers.size,
  };
}

/** The first domains of a pool except `domain`. Does not copy the list, which can have 100,000 domains. */
function otherDomains(pool: Pool, domain: string, limit: number): string[] {
  return pool.domains
    .slice(0, limit + 1)
    .filter((other) => other !== domain)
    .slice(0, limit);
}

/** @throws AppError validation_failed if more than one of `ip`, `share_with` and `backend` is given, or an invalid backend */
export function checkAddDomain(input: AddDomainDto): void {
  const given = (['ip', 'share_with', 'backend'] as const).filter((name) => input[name] !== undefined);
  if (given.length > 1)
    throw invalidFields(
      given.map((field) => ({
        field,
        message: `is not allowed together with ${given.filter((other) => other !== field).join(' and ')}`,
      })),
      "Give only one of ip (a pool of its own), share_with (the pool of another domain) and backend (the operator's backend).",
    );
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

/** @throws AppError domain_exists, domain_not_found, pools_exhausted */
export function addDomain(draft: Draft, input: AddDomainDto, limit: PoolLimit): DomainDto {
  if (draft.poolOf(input.domain) !== undefined) throw domainExistsError(draft, input.domain);
  if (input.backend !== undefined) draft.addDomain(input.domain, input.backend, true);
  else if (input.share_with !== undefined)
    draft.addDomain(input.domain, requirePool(draft, input.share_with).name);
  else {
    const pool = lowestFreePool(draft, limit);
    draft.addDomain(input.domain, pool);
    if (input.ip !== undefined) draft.putServer(pool, 1, newServer(input.ip, input.http_port));
  }
  return describeDomain(draft, input.domain);
}

/**
 * Adds the domain, or sets the address of its server if it exists. Refuses if that would move the domain to another
 * pool, change the servers of other domains, or remove a server.
 *
 * @throws AppError domain_exists, domain_not_found, pools_exhausted
 */
export function putDomain(draft: Draft, input: AddDomainDto, limit: PoolLimit): DomainDto {
  if (draft.poolOf(input.domain) === undefined) return addDomain(draft, input, limit);
  const { name, pool } = requirePool(draft, input.domain);
  if (input.backend !== undefined) {
    if (input.backend !== name) throw domainExistsError(draft, input.domain);
  } else if (input.share_with !== undefined) {
    if (requirePool(draft, input.share_with).name !== name) throw domainExistsError(draft, input.domain);
  } else if (input.ip !== undefined && !hasAddress(pool, input.ip, input.http_port)) {
    if (pool.external || pool.servers.size > 1 || pool.domains.length > 1)
      throw domainExistsError(draft, input.domain);
    const [slot, server] = [...pool.servers][0] ?? [1, newServer(input.ip, input.http_port)];
    draft.putServer(name, slot, { ...server, ip: input.ip, http_port: input.http_port });
  }
  return describeDomain(draft, input.domain);
}

/** @throws AppError domain_not_found */
export function removeDomain(draft: Draft, domain: string): RemovedDomainDto {
  const { name, pool } = requirePool(draft, domain);
  draft.removeDomain(domain);
  const freed = pool.domains.length === 1;
  return { domain, pool: name, pool_freed: freed, servers_removed: freed ? pool.servers.size : 0 };
}

function newServer(ip: string, http_port: number): ServerSpec {
  return { ip, http_port, weight: DEFAULT_WEIGHT, state: 'ready' };
}

function hasAddress(pool: Pool, ip: string, port: number): boolean {
  return [...pool.servers.values()].some((server) => server.ip === ip && server.http_port === port);
}

function lowestFreePool(state: StateReader, limit: PoolLimit): string {
  for (let number = state.firstFreeCandidate(); number <= limit.count; number += 1) {
    const name = poolName(number);
    if (!state.pool(name) && limit.reserved?.has(name) !== true) return name;
  }
  const why = poolsExhausted(limit);
  throw new AppError('pools_exhausted', `${why.charAt(0).toUpperCase()}${why.slice(1)}.`);
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
