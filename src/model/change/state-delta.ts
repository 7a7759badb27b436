import type { SiteOptions } from '../options/options.js';
import { comparePoolNames } from '../names/pool-name.js';
import { mergeSorted } from '../names/sorted-names.js';
import { addedAndRemovedPools, type Pool, type State, type StateDelta } from '../state.js';

/** All pools by number, as they are after the delta. */
export function orderedPools(state: State, delta?: StateDelta): [string, Pool][] {
  let names = state.sortedPools();
  if (delta) {
    const { added, removed } = addedAndRemovedPools(delta, state);
    if (added.length + removed.length > 0) names = mergeSorted(names, added, removed, comparePoolNames);
  }
  const pools: [string, Pool][] = [];
  for (const name of names) {
    const pool = delta?.pools.get(name) ?? state.pool(name);
    if (pool) pools.push([name, pool]);
  }
  return pools;
}

/** The options of all hosts by name, as they are after the delta. */
export function sitesAfter(state: State, delta?: StateDelta): [string, SiteOptions][] {
  if (state.sites.size === 0 && !delta?.sites?.size) return [];
  const sites = new Map<string, SiteOptions | undefined>([...state.sites, ...(delta?.sites ?? [])]);
  return [...sites]
    .filter((entry): entry is [string, SiteOptions] => entry[1] !== undefined)
    .toSorted(([one], [other]) => (one < other ? -1 : 1));
}

/** The pools of the suite whose servers change, so that their sections of `pools.cfg` change too. */
export function poolsWithChangedServers(delta: StateDelta, before: State): string[] {
  const names: string[] = [];
  for (const [name, pool] of delta.pools) {
    const former = before.pool(name);
    const isExternal = pool ? pool.external : former?.external;
    if (!isExternal && pool?.servers !== former?.servers) names.push(name);
  }
  return names;
}

/** The delta that restores HAProxy to `before`, after `delta` was applied to HAProxy but not to the state. */
export function inverse(delta: StateDelta, before: State): StateDelta {
  return {
    pools: new Map([...delta.pools.keys()].map((name) => [name, before.pool(name)])),
    domains: new Map([...delta.domains.keys()].map((domain) => [domain, before.poolOf(domain)])),
    sites: new Map([...(delta.sites?.keys() ?? [])].map((host) => [host, before.site(host)])),
  };
}

/** The domains whose pool changes, and the domains of pools whose servers or options change. Call it before `State.apply`. */
export function touchedDomains(delta: StateDelta, before: State): string[] {
  const touched = new Set([...delta.domains.keys(), ...(delta.sites?.keys() ?? [])]);
  for (const [name, pool] of delta.pools) {
    const former = before.pool(name);
    // A pool may have thousands of domains, and adding one domain does not affect the others.
    if (former?.servers === pool?.servers && former?.options === pool?.options) continue;
    for (const domain of [...(former?.domains ?? []), ...(pool?.domains ?? [])]) touched.add(domain);
  }
  return [...touched];
}
