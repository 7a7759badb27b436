import { isDeepStrictEqual } from 'node:util';
import type { SiteOptions } from './options.js';
import { isSameServer, type PoolServers, type ServerSpec } from './server.js';
import { Draft, type Pool, type StateDelta, type StateReader } from './state.js';

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
}

const NO_SERVERS: PoolServers = new Map();

/** What a delta changes. Call it before the delta is applied. */
export function changeOf(delta: StateDelta, before: StateReader): Change {
  const pools: Change['pools'][number][] = [];
  const servers: Change['servers'][number][] = [];
  for (const [name, pool] of delta.pools) {
    const former = before.pool(name);
    const properties = [propertiesOf(former), propertiesOf(pool)] as const;
    if (!isDeepStrictEqual(...properties)) pools.push([name, ...properties]);
    servers.push(...changedServers(name, former?.servers ?? NO_SERVERS, pool?.servers ?? NO_SERVERS));
  }
  const domains = [...delta.domains]
    .map(([domain, pool]) => [domain, before.poolOf(domain) ?? null, pool ?? null] as const)
    .filter(([, former, pool]) => former !== pool);
  const sites = [...(delta.sites ?? [])]
    .map(([host, site]) => [host, before.site(host) ?? null, site ?? null] as const)
    .filter(([, former, site]) => !isDeepStrictEqual(former, site));
  return { pools, domains, servers, sites };
}

export function propertiesOf(pool: Pool): PoolProperties;
export function propertiesOf(pool: Pool | undefined): PoolProperties | null;
export function propertiesOf(pool: Pool | undefined): PoolProperties | null {
  if (!pool) return null;
  return { ...(pool.external && { external: true }), ...(pool.options && { options: pool.options }) };
}

function changedServers(pool: string, before: PoolServers, after: PoolServers): Change['servers'][number][] {
  if (before === after) return [];
  return [...new Set([...before.keys(), ...after.keys()])]
    .toSorted((one, other) => one - other)
    .map((slot) => [pool, slot, before.get(slot) ?? null, after.get(slot) ?? null] as const)
    .filter(([, , former, server]) => !isSameOrAbsent(former, server));
}

export function isSameOrAbsent(one: ServerSpec | null, other: ServerSpec | null): boolean {
  return one === other || (one !== null && other !== null && isSameServer(one, other));
}

/** The change that takes back `change`. */
export function inverseOf({ pools, domains, servers, sites }: Change): Change {
  return {
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

/** The domains that a change adds, moves or removes, those of the pools whose servers it changes, and those of `sites`. */
export function domainsOfChange(
  { domains, servers, sites }: Change,
  domainsOfPool: (pool: string) => readonly string[],
): Set<string> {
  const named = new Set([...domains.map(([domain]) => domain), ...sites.map(([host]) => host)]);
  for (const pool of new Set(servers.map(([name]) => name)))
    for (const domain of domainsOfPool(pool)) named.add(domain);
  return named;
}
