import { isDeepStrictEqual } from 'node:util';
import type { SiteOptions } from '../options/options.js';
import { isSameServer, type PoolServers, type ServerSpec } from '../server.js';
import { Draft } from '../draft.js';
import type { Pool, StateDelta, StateReader } from '../state.js';

/** What a pool has beside domains and servers. Empty for most pools. */
export type PoolProperties = Pick<Pool, 'external' | 'options'>;

/** One value before and after a change; null where it does not exist. */
type BeforeAfter<T> = readonly [before: T | null, after: T | null];

/**
 * What one revision changed: each value before and after it. Complete, so that the change can be taken back, and
 * symmetrical, so that the inverse is the change with before and after exchanged. A value of JSON.
 */
export interface Change {
  /** Pools that are taken into use (before is null), become free (after is null), or whose properties change. */
  readonly pools: readonly (readonly [pool: string, ...BeforeAfter<PoolProperties>])[];
  /** The pool of a domain. */
  readonly domains: readonly (readonly [domain: string, ...BeforeAfter<string>])[];
  readonly servers: readonly (readonly [pool: string, slot: number, ...BeforeAfter<ServerSpec>])[];
  /** The options of a host. */
  readonly sites: readonly (readonly [host: string, ...BeforeAfter<SiteOptions>])[];
  /**
   * Pools in use before and after whose name stands for another pool now: all former domains have left, or a rollback has
   * brought the former pool back. `domains` and `servers` have all of their values, also those that are equal before and
   * after. Absent if there are none.
   */
  readonly replaced?: readonly string[];
}

/** A change that changes nothing. */
export const NO_CHANGE: Change = { pools: [], domains: [], servers: [], sites: [] };

const NO_SERVERS: PoolServers = new Map();

/** What a delta changes. Call it before the delta is applied. */
export function changeOf(delta: StateDelta, before: StateReader): Change {
  const pools: Change['pools'][number][] = [];
  const servers: Change['servers'][number][] = [];
  const replaced: string[] = [];
  const domains: Change['domains'][number][] = [];
  for (const [name, pool] of delta.pools) {
    const former = before.pool(name);
    const properties = [propertiesOf(former), propertiesOf(pool)] as const;
    if (!isDeepStrictEqual(...properties)) pools.push([name, ...properties]);
    const isOther = former !== undefined && pool !== undefined && isReplaced(delta, name, former, pool);
    if (isOther) {
      replaced.push(name);
      for (const domain of pool.domains)
        if (before.poolOf(domain) === name) domains.push([domain, name, name]);
    }
    const [from, to] = [former?.servers ?? NO_SERVERS, pool?.servers ?? NO_SERVERS];
    for (const one of isOther ? allServers(name, from, to) : changedServers(name, from, to))
      servers.push(one);
  }
  for (const [domain, pool] of delta.domains) {
    const former = before.poolOf(domain);
    if (former !== pool) domains.push([domain, former ?? null, pool ?? null]);
  }
  const sites = [...(delta.sites ?? [])]
    .map(([host, site]) => [host, before.site(host) ?? null, site ?? null] as const)
    .filter(([, former, site]) => !isDeepStrictEqual(former, site));
  return { pools, domains, servers, sites, ...(replaced.length > 0 && { replaced }) };
}

/** Whether a pool that is in use before and after has other domains, so that a former domain must not get its servers. */
function isReplaced(delta: StateDelta, name: string, former: Pool, pool: Pool): boolean {
  if (pool.external) return false;
  const isSame = delta instanceof Draft ? delta.samePools.get(name) : undefined;
  if (isSame !== undefined) return !isSame;
  if (former.domains === pool.domains) return false;
  return !former.domains.some((domain) => !delta.domains.has(domain) || delta.domains.get(domain) === name);
}

export function propertiesOf(pool: Pool): PoolProperties;
export function propertiesOf(pool: Pool | undefined): PoolProperties | null;
export function propertiesOf(pool: Pool | undefined): PoolProperties | null {
  if (!pool) return null;
  return { ...(pool.external && { external: true }), ...(pool.options && { options: pool.options }) };
}

function changedServers(pool: string, before: PoolServers, after: PoolServers): Change['servers'][number][] {
  if (before === after) return [];
  return allServers(pool, before, after).filter(([, , former, server]) => !isSameOrAbsent(former, server));
}

function allServers(pool: string, before: PoolServers, after: PoolServers): Change['servers'][number][] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .toSorted((one, other) => one - other)
    .map((slot) => [pool, slot, before.get(slot) ?? null, after.get(slot) ?? null] as const);
}

export function isSameOrAbsent(one: ServerSpec | null, other: ServerSpec | null): boolean {
  return one === other || (one !== null && other !== null && isSameServer(one, other));
}

/** The change that takes back `change`. */
export function inverseOf({ pools, domains, servers, sites, replaced }: Change): Change {
  return {
    ...(replaced && { replaced }),
    pools: pools.map(([name, before, after]) => [name, after, before]),
    domains: domains.map(([domain, before, after]) => [domain, after, before]),
    servers: servers.map(([pool, slot, before, after]) => [pool, slot, after, before]),
    sites: sites.map(([host, before, after]) => [host, after, before]),
  };
}

/** One change that does what these changes do one after the other. */
export function composed(changes: Iterable<Change>): Change {
  const pools = new Map<string, Change['pools'][number]>();
  const domains = new Map<string, Change['domains'][number]>();
  const servers = new Map<string, Change['servers'][number]>();
  const sites = new Map<string, Change['sites'][number]>();
  for (const change of changes) {
    for (const [name, before, after] of change.pools)
      pools.set(name, [name, pools.has(name) ? (pools.get(name)?.[1] ?? null) : before, after]);
    for (const [domain, before, after] of change.domains)
      domains.set(domain, [domain, domains.has(domain) ? (domains.get(domain)?.[1] ?? null) : before, after]);
    for (const [pool, slot, before, after] of change.servers) {
      const key = `${pool}/${slot}`;
      servers.set(key, [pool, slot, servers.has(key) ? (servers.get(key)?.[2] ?? null) : before, after]);
    }
    for (const [host, before, after] of change.sites)
      sites.set(host, [host, sites.has(host) ? (sites.get(host)?.[1] ?? null) : before, after]);
  }
  return {
    pools: [...pools.values()].filter(([, before, after]) => !isDeepStrictEqual(before, after)),
    domains: [...domains.values()].filter(([, before, after]) => before !== after),
    servers: [...servers.values()].filter(([, , before, after]) => !isSameOrAbsent(before, after)),
    sites: [...sites.values()].filter(([, before, after]) => !isDeepStrictEqual(before, after)),
  };
}

/**
 * Applies a change whose values before it are those of the draft. The pools that it names must have in the draft what
 * `before` says; see `conflictsOf`.
 */
export function applyChange(draft: Draft, change: Change): void {
  const pools = new Map<string, { domains: string[]; servers: Map<number, ServerSpec> } & PoolProperties>();
  const touched = (name: string) => {
    const known = pools.get(name);
    if (known) return known;
    const present = draft.pool(name);
    const pool = {
      ...(present && propertiesOf(present)),
      domains: [...(present?.domains ?? [])],
      servers: new Map(present?.servers),
    };
    pools.set(name, pool);
    return pool;
  };
  for (const [name, , after] of change.pools) {
    const { domains, servers } = touched(name);
    pools.set(name, { ...after, domains, servers });
  }
  const leaving = new Map<string, Set<string>>();
  for (const [domain, before, after] of change.domains) {
    if (before === after) continue;
    if (before !== null) leaving.set(before, (leaving.get(before) ?? new Set()).add(domain));
    if (after !== null) touched(after).domains.push(domain);
  }
  for (const [name, domains] of leaving) {
    const pool = touched(name);
    pool.domains = pool.domains.filter((domain) => !domains.has(domain));
  }
  for (const [name, slot, , after] of change.servers) {
    if (after === null) touched(name).servers.delete(slot);
    else touched(name).servers.set(slot, after);
  }
  draft.replacePools(
    new Map([...pools].map(([name, pool]) => [name, pool.domains.length > 0 ? pool : undefined])),
  );
  for (const [host, , after] of change.sites) draft.setSite(host, after ?? undefined);
}

/** The names of all pools of a change. */
export function poolsOfChange({ pools, domains, servers, replaced = [] }: Change): Set<string> {
  const names = new Set([...pools.map(([name]) => name), ...servers.map(([name]) => name), ...replaced]);
  for (const [, before, after] of domains)
    for (const name of [before, after]) if (name !== null) names.add(name);
  return names;
}

/**
 * The domains that a change adds, moves or removes, those of `sites`, and those of the pools whose servers it changes. At
 * most `limit` of them are listed: a pool can have 100,000 domains, and each change of its servers would read them all.
 */
export function domainsOfChange(
  { domains, servers, sites }: Change,
  poolOf: (pool: string) => Pick<Pool, 'domains'> | undefined,
  limit: number,
): { domains: string[]; more: number } {
  const named = new Set([...domains.map(([domain]) => domain), ...sites.map(([host]) => host)]);
  const listed = [...named].slice(0, limit);
  let total = named.size;
  for (const pool of new Set(servers.map(([name]) => name))) {
    const members = poolOf(pool)?.domains ?? [];
    total += members.length;
    if (members.length <= limit) {
      for (const domain of members)
        if (named.has(domain)) total -= 1;
        else if (listed.length < limit) listed.push(domain);
    } else {
      const inPool = named.size > 0 ? new Set(members) : undefined;
      for (const domain of named) if (inPool?.has(domain)) total -= 1;
      for (const domain of members) {
        if (listed.length >= limit) break;
        if (!named.has(domain)) listed.push(domain);
      }
    }
  }
  return { domains: listed, more: Math.max(0, total - listed.length) };
}
