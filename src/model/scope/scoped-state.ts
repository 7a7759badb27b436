import type { SiteOptions } from '../options/options.js';
import { type Pool, State } from '../state.js';
import type { Scope } from './scope.js';

interface ScopedState {
  revision: number;
  view: State;
}

/** The most views that are kept of one state, and the most domains that all of them have. */
const MAX_VIEWS = 64;
const MAX_VIEWED_DOMAINS = 200_000;

/** The views of each state, by their scope; the one that was used longest ago is the first. */
const views = new WeakMap<State, Map<Scope, ScopedState>>();

/**
 * The state as a caller with this scope sees it: without the domains that are not in scope, and without the pools that have
 * only such domains. The state itself for a caller without a limit. Built once for each revision, by a search of the names,
 * if not too many other scopes were asked for since.
 */
export function stateInScope(state: State, scope: Scope | undefined): State {
  if (!scope?.limitsDomains) return state;
  const kept = views.get(state) ?? new Map<Scope, ScopedState>();
  views.set(state, kept);
  const known = kept.get(scope);
  const view = known?.revision === state.revision ? known.view : buildView(state, scope);
  kept.delete(scope);
  kept.set(scope, { revision: state.revision, view });
  dropOldest(kept);
  return view;
}

/** The last view stays, whatever its size. */
function dropOldest(kept: Map<Scope, ScopedState>): void {
  let domains = 0;
  for (const { view } of kept.values()) domains += view.domainCount;
  for (const [scope, { view }] of kept) {
    if (kept.size === 1 || (kept.size <= MAX_VIEWS && domains <= MAX_VIEWED_DOMAINS)) return;
    kept.delete(scope);
    domains -= view.domainCount;
  }
}

/** Above this many searches, looking at every domain takes less time. One search of 100,000 domains takes a few milliseconds. */
const MAX_SEARCHES = 16;

function buildView(state: State, scope: Scope): State {
  const sites: [string, SiteOptions][] = [];
  const names = new Set<string>();
  for (const domain of domainsInScope(state, scope)) {
    names.add(state.poolOf(domain) ?? '');
    const site = state.site(domain);
    if (site) sites.push([domain, site]);
  }
  const pools: [string, Pool][] = [];
  for (const name of names) {
    const pool = state.pool(name);
    if (pool) pools.push([name, poolInScope(pool, scope)]);
  }
  return new State(state.revision, pools, sites);
}

/** The pool without the domains that are not in scope; the pool itself if it has none of them. */
export function poolInScope(pool: Pool, scope: Scope): Pool {
  const domains = pool.domains.filter((domain) => scope.includes(domain));
  return domains.length === pool.domains.length ? pool : { ...pool, domains };
}

function domainsInScope(state: State, scope: Scope): Iterable<string> {
  const { texts } = scope;
  if (texts.length > MAX_SEARCHES) return state.sortedDomains().filter((domain) => scope.includes(domain));
  const index = state.domainIndex();
  const found = texts.flatMap((needle) => index.page({ needle, limit: Number.POSITIVE_INFINITY }).items);
  return new Set(found.filter((domain) => scope.includes(domain)));
}
