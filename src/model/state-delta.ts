import { BY_NUMBER, withChange } from './sorted-names.js';
import { poolsThatComeAndGo, type Pool, type State, type StateDelta } from './state.js';

/** All pools as they are to be, by number, as people look for them. */
export function poolsWith(change: StateDelta | undefined, before: State): [string, Pool][] {
  let names = before.sortedPools();
  if (change) {
    const { added, removed } = poolsThatComeAndGo(change, before);
    if (added.length + removed.length > 0) names = withChange(names, added, removed, BY_NUMBER);
  }
  const pools: [string, Pool][] = [];
  for (const name of names) {
    const pool = change?.pools.get(name) ?? before.pool(name);
    if (pool) pools.push([name, pool]);
  }
  return pools;
}

/** The pools of which `pools.cfg` says something else afterwards. */
export function poolsThatChange(change: StateDelta, before: State): string[] {
  const names: string[] = [];
  for (const [name, pool] of change.pools) if (pool?.servers !== before.pool(name)?.servers) names.push(name);
  return names;
}

/** What undoes a change that has been applied but not committed. */
export function inverse(change: StateDelta, before: State): StateDelta {
  return {
    pools: new Map([...change.pools.keys()].map((name) => [name, before.pool(name)])),
    domains: new Map([...change.domains.keys()].map((domain) => [domain, before.poolOf(domain)])),
  };
}

/** The domains that go elsewhere, or whose pool has other servers, than before. Ask before the change is folded in. */
export function touchedDomains(change: StateDelta, before: State): string[] {
  const touched = new Set(change.domains.keys());
  for (const [name, pool] of change.pools) {
    const former = before.pool(name);
    // A pool may have thousands of names, which one more of them does not touch.
    if (former?.servers === pool?.servers) continue;
    for (const domain of [...(former?.domains ?? []), ...(pool?.domains ?? [])]) touched.add(domain);
  }
  return [...touched];
}
