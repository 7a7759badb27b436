import { cursorAfter, keyOfCursor, type Page } from '../contract/pages/page.js';
import type { State } from '../model/state.js';
import type { ListDomainsDto } from './domains.dto.js';

/** All wildcards come before it, and all other domains after it: `*` sorts before letters and digits. */
const AFTER_WILDCARDS = '*/';

/** One page of the domains that are asked for; of 100,000 as fast as of a few. */
export function domainPage(state: State, input: ListDomainsDto): Page<string> {
  const { items, more, total } = state.domainIndex(input.pool).page({
    needle: input.search?.toLowerCase(),
    from: input.include_wildcards ? undefined : AFTER_WILDCARDS,
    after: keyOfCursor(input),
    limit: input.limit,
  });
  return { items, next_cursor: more ? cursorAfter(items, (name) => name) : null, total };
}
