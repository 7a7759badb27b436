import { isWildcard } from '../model/domain-name.js';
import { AppError } from '../errors/app-error.js';
import { poolName } from '../model/pool-name.js';
import { DEFAULT_WEIGHT, type ServerSpec } from '../model/server.js';
import { type Draft, type Pool, type StateReader, requirePool } from '../model/state.js';
import { poolsExhausted, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import type { AddDomainDto, DomainDto, RemovedDomainDto } from './domains.dto.js';

/** A pool may have thousands of names; an answer about one of them need not hold all the others. */
export const SHARED_WITH_SHOWN = 100;
/** In a list, where there may be a thousand such answers. */
export const SHARED_WITH_LISTED = 10;

/** The domain as callers see it, with at most `shown` of those that share its pool. */
export function describeDomain(state: StateReader, domain: string, shown = SHARED_WITH_SHOWN): DomainDto {
  const { name, pool } = requirePool(state, domain);
  return {
    domain,
    pool: name,
    wildcard: isWildcard(domain),
    shared_with: othersOf(pool, domain, shown),
    shared_count: pool.domains.length - 1,
    server_count: pool.servers.size,
  };
}

/** The first domains of a pool but one. The pool is not copied: it may have 100,000. */
function othersOf(pool: Pool, domain: string, limit: number): string[] {
  return pool.domains
    .slice(0, limit + 1)
    .filter((other) => other !== domain)
    .slice(0, limit);
}

/**
 * `ip` and `share_with` say two different things about where requests go.
 *
 * @throws AppError validation_failed
 */
export function checkAddDomain(input: AddDomainDto): void {
  if (input.ip === undefined || input.share_with === undefined) return;
  const message = 'give either ip (a pool of its own) or share_with (the pool of another domain), not both';
  throw new AppError('validation_failed', message, {
    errors: [
      { field: 'ip', message },
      { field: 'share_with', message },
    ],
  });
}

/** @throws AppError domain_exists, domain_not_found (share_with), pools_exhausted */
export function addDomain(draft: Draft, input: AddDomainDto, limit: PoolLimit): DomainDto {
  if (draft.poolOf(input.domain) !== undefined) throw domainExists(draft, input.domain);
  if (input.share_with === undefined) {
    const pool = lowestFreePool(draft, limit);
    draft.addDomain(input.domain, pool);
    if (input.ip !== undefined) draft.putServer(pool, 1, newServer(input.ip, input.http_port));
  } else {
    draft.addDomain(input.domain, requirePool(draft, input.share_with).name);
  }
  return describeDomain(draft, input.domain);
}

/**
 * Makes the domain be as asked, whatever it was: added if it is new, re-addressed if its pool is its own and has at
 * most one server. Where that would take something from somebody it is refused.
 *
 * @throws AppError domain_exists, domain_not_found (share_with), pools_exhausted
 */
export function putDomain(draft: Draft, input: AddDomainDto, limit: PoolLimit): DomainDto {
  if (draft.poolOf(input.domain) === undefined) return addDomain(draft, input, limit);
  const { name, pool } = requirePool(draft, input.domain);
  if (input.share_with !== undefined) {
    if (requirePool(draft, input.share_with).name !== name) throw domainExists(draft, input.domain);
  } else if (input.ip !== undefined && !hasAddress(pool, input.ip, input.http_port)) {
    if (pool.servers.size > 1 || pool.domains.length > 1) throw domainExists(draft, input.domain);
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
    if (!state.pool(name)) return name;
  }
  const why = poolsExhausted(limit);
  throw new AppError('pools_exhausted', `${why.charAt(0).toUpperCase()}${why.slice(1)}.`);
}

function domainExists(state: StateReader, domain: string): AppError {
  const existing = describeDomain(state, domain);
  return new AppError(
    'domain_exists',
    `${domain} exists already, in ${existing.pool} with ${existing.server_count} server(s). Change its servers with ` +
      'haproxy_add_server, haproxy_remove_server and the like, or remove the domain first (haproxy_remove_domain).',
    { existing },
  );
}
