import type { Pool, State, StateChange } from './state.js';

/** All pools as they are to be. */
export function poolsWith(change: StateChange, before: State): Map<string, Pool> {
  const pools = new Map(before.pools);
  for (const [name, pool] of change.pools) {
    if (pool) pools.set(name, pool);
    else pools.delete(name);
  }
  return pools;
}

/** What undoes a change that has been applied but not committed. */
export function inverse(change: StateChange, before: State): StateChange {
  return {
    pools: new Map([...change.pools.keys()].map((name) => [name, before.pool(name)])),
    domains: new Map([...change.domains.keys()].map((domain) => [domain, before.poolOf(domain)])),
  };
}
