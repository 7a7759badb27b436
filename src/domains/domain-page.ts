import { isWildcard } from '../common/domain-name.js';
import { type Page, paginate, paginateWhere } from '../common/page.js';
import { firstAtLeast } from '../persistence/sorted-names.js';
import type { State } from '../persistence/state.js';
import type { ListDomainsDto } from './domains.dto.js';

/** The names of a pool that are sorted for one answer; of a larger pool they are picked out of those that are sorted. */
const SORTED_AT_ONCE = 1000;
/** All wildcards come before it, and all other domains after it: `*` sorts before letters and digits. */
const AFTER_WILDCARDS = '*/';

/** One page of the domains that are asked for. At 100,000 domains it looks at all of them only to search. */
export function domainPage(state: State, input: ListDomainsDto): Page<string> {
  const needle = input.search?.toLowerCase();
  const matches = (domain: string): boolean => needle === undefined || domain.includes(needle);
  const sorted = input.include_wildcards ? state.sortedDomains() : withoutWildcards(state.sortedDomains());
  const { pool } = input;
  if (pool === undefined)
    return paginate(needle === undefined ? sorted : sorted.filter(matches), asItIs, input);
  const names = (state.pool(pool)?.domains ?? []).filter(
    (domain) => matches(domain) && (input.include_wildcards || !isWildcard(domain)),
  );
  if (names.length <= SORTED_AT_ONCE) return paginate(names.toSorted(), asItIs, input);
  const inPool = (domain: string): boolean => state.poolOf(domain) === pool && matches(domain);
  return { ...paginateWhere(sorted, asItIs, inPool, input), total: names.length };
}

function withoutWildcards(sorted: readonly string[]): readonly string[] {
  const first = firstAtLeast(sorted, AFTER_WILDCARDS);
  return first === 0 ? sorted : sorted.slice(first);
}

function asItIs(name: string): string {
  return name;
}
