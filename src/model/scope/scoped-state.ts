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
 * only such domains. The state itself for a caller without a limit. One pass over the domains, once for each revision.
 */
export function stateInScope(state: State, scope: Scope | undefined): State {
  if (!scope?.limitsDomains) return state;
  const known = views.get(scope);
  if (known?.of === state && known.revision === state.revision) return known.view;
  const view = buildView(state, scope);
  views.set(scope, { of: state, revision: state.revision, view });
  return view;
}

function buildView(state: State, scope: Scope): State {
  const pools: [string, Pool][] = [];
  for (const [name, pool] of state.pools) {
    const domains = pool.domains.filter((domain) => scope.includes(domain));
    if (domains.length === pool.domains.length) pools.push([name, pool]);
    else if (domains.length > 0) pools.push([name, { ...pool, domains }]);
  }
  const sites: [string, SiteOptions][] = [];
  for (const [host, site] of state.sites) if (scope.includes(host)) sites.push([host, site]);
  return new State(state.revision, pools, sites);
}
