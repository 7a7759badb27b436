import { comparePoolNames } from './pool-name.js';
import { mergeSorted } from './sorted-names.js';
import { addedAndRemovedPools, type Pool, type State, type StateDelta } from './state.js';

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

/** The pools whose servers change, so that their sections of `pools.cfg` change too. */
export function poolsWithChangedServers(delta: StateDelta, before: State): string[] {
  const names: string[] = [];
  for (const [name, pool] of delta.pools) if (pool?.servers !== before.pool(name)?.servers) names.push(name);
  return names;
}

/** The delta that restores HAProxy to `before`, after `delta` was applied to HAProxy but not to the state. */
export function inverse(delta: StateDelta, before: State): StateDelta {
  return {
    pools: new Map([...delta.pools.keys()].map((name) => [name, before.pool(name)])),
    domains: new Map([...delta.domains.keys()].map((domain) => [domain, before.poolOf(domain)])),
  };
}

/** The domains whose pool changes, and the domains of pools whose servers change. Call it before `State.apply`. */
export function touchedDomains(delta: StateDelta, before: State): string[] {
  const touched = new Set(delta.domains.keys());
  for (const [name, pool] of delta.pools) {
    const former = before.pool(name);
    // A pool may have thousands of domains, and adding one domain does not affect the others.
    if (former?.servers === pool?.servers) continue;
    for (const domain of [...(former?.domains ?? []), ...(pool?.domains ?? [])]) touched.add(domain);
  }
  return [...touched];
}
