import { poolNumber, type Pool, type State, type StateChange } from './state.js';

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

/** The domains that go elsewhere, or whose pool has other servers, than before. Ask before the change is folded in. */
export function touchedDomains(change: StateChange, before: State): string[] {
  const touched = new Set(change.domains.keys());
  for (const [name, pool] of change.pools) {
    const former = before.pool(name);
    // A pool may have thousands of names, which one more of them does not touch.
    if (former?.servers === pool?.servers) continue;
    for (const domain of [...(former?.domains ?? []), ...(pool?.domains ?? [])]) touched.add(domain);
  }
  return [...touched];
}

/** By pool number, as people look for them. */
export function inOrder(pools: ReadonlyMap<string, Pool>): [string, Pool][] {
  const numbered = [...pools].map((entry) => ({ entry, number: poolNumber(entry[0]) ?? 0 }));
  return numbered.toSorted((a, b) => a.number - b.number).map(({ entry }) => entry);
}
