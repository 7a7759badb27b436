import { isWildcard } from './names/domain-name.js';
import { expiryOf, expiryText } from './options/expiry.js';
import { labelsOf } from './options/labels.js';
import type { SiteOptions } from './options/options.js';
import { optionsOf } from './sites/site-options.js';
import { type Pool, requirePool, type StateReader } from './state.js';

/** How many other domains of the pool an answer names. A pool can have 100,000. */
const SHARED_WITH_SHOWN = 100;

/** A saved domain, as callers see it. */
export interface DomainView {
  domain: string;
  pool: string;
  labels?: Record<string, string>;
  expires_at?: string;
  site?: SiteOptions;
  wildcard: boolean;
  external: boolean;
  shared_with: string[];
  shared_count: number;
  server_count: number;
}

/**
 * The domain as callers see it, with at most `shown` other domains of its pool.
 *
 * @throws AppError domain_not_found
 */
export function describeDomain(state: StateReader, domain: string, shown = SHARED_WITH_SHOWN): DomainView {
  const { name, pool } = requirePool(state, domain);
  const site = state.site(domain);
  const labels = labelsOf(site);
  const expires = expiryOf(site);
  const options = optionsOf(site);
  return {
    domain,
    pool: name,
    ...(labels && { labels }),
    ...(expires !== undefined && { expires_at: expiryText(expires) }),
    ...(options && { site: options }),
    wildcard: isWildcard(domain),
    external: pool.external ?? false,
    shared_with: otherDomains(pool, domain, shown),
    shared_count: pool.domains.length - 1,
    server_count: pool.servers.size,
  };
}

/** The first domains of a pool except `domain`. Does not copy the list, which can have 100,000 domains. */
export function otherDomains(pool: Pool, domain: string, limit = SHARED_WITH_SHOWN): string[] {
  return pool.domains
    .slice(0, limit + 1)
    .filter((other) => other !== domain)
    .slice(0, limit);
}
