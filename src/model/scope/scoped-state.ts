import type { SiteOptions } from '../options/options.js';
import { type Pool, State } from '../state.js';
import type { Scope } from './scope.js';

interface ScopedState {
  of: State;
  revision: number;
  view: State;
}

/** The view of each scope on the latest state that it was asked for. */
const views = new WeakMap<Scope, ScopedState>();

/**
 * The state as a caller with this scope sees it: without the domains that are not in scope, and without the pools that have
 * only such domains. The state itself for a caller without a limit. Built once for each revision, by a search of the names.
 */
export function stateInScope(state: State, scope: Scope | undefined): State {
  if (!scope?.limitsDomains) return state;
  const known = views.get(scope);
  if (known?.of === state && known.revision === state.revision) return known.view;
  const view = buildView(state, scope);
  views.set(scope, { of: state, revision: state.revision, view });
  return view;
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
