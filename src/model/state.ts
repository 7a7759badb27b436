import { AppError } from '../errors/app-error.js';
import { DomainsByKey } from './names/domains-by-key.js';
import { type DomainMove, DomainIndexes, type NameIndex } from './names/name-index.js';
import { comparePoolNames, poolName, poolNumber } from './names/pool-name.js';
import { expiryOf } from './options/expiry.js';
import type { PoolOptions, SiteOptions } from './options/options.js';
import type { Routing } from './routing.js';
import type { PoolServers } from './server.js';
import { SortedNames } from './names/sorted-names.js';
import { type CountedScope, ScopeCounts } from './scope/scope-counts.js';

/** One pool of the desired state. Immutable, so that text rendered from it can be cached. */
export interface Pool {
  /** Canonical domains and wildcards, in the order in which they were added; never empty. */
  readonly domains: readonly string[];
  /** Always empty if the pool is external. */
  readonly servers: PoolServers;
  /** The pool is a backend of the operator. The suite routes domains to it and does not change its servers. */
  readonly external?: true;
  readonly options?: PoolOptions;
}

/** Read access to a committed state or to a draft. */
export interface StateReader {
  pool(name: string): Pool | undefined;
  /** The pool as an answer may show it: without the domains that are not in scope of the caller. */
  visiblePool(name: string): Pool | undefined;
  poolOf(domain: string): string | undefined;
  /** The options of a host. */
  site(host: string): SiteOptions | undefined;
  /** All pools with a domain, in no particular order. */
  poolNames(): Iterable<string>;
  /** The pool number at which to start the search for a free pool: no pool with a lower number is free. */
  firstFreeCandidate(): number;
}

/** What a draft changed. The writer plans and stores this part only. */
export interface StateDelta {
  /** Pool name → the new pool, or undefined for a pool that becomes free. */
  readonly pools: ReadonlyMap<string, Pool | undefined>;
  /** Domain → its new pool, or undefined for a domain that is removed. */
  readonly domains: ReadonlyMap<string, string | undefined>;
  /** Host → its new options, or undefined for a host that has no options any more. */
  readonly sites?: ReadonlyMap<string, SiteOptions | undefined>;
}

/** The desired state: every domain, pool and server, in memory. It changes by `apply` only. */
export class State implements StateReader {
  readonly #pools = new Map<string, Pool>();
  readonly #poolOf: Map<string, string>;
  readonly #sites: Map<string, SiteOptions>;
  /** Domain → when it expires, in milliseconds since the epoch. Few domains expire, and they are looked for each second. */
  readonly #expiring = new Map<string, number>();
  readonly #external = new Set<string>();
  readonly #sortedDomains = new SortedNames(() => this.#poolOf.keys());
  readonly #sortedPools = new SortedNames(() => this.#pools.keys(), comparePoolNames);
  readonly #indexes = new DomainIndexes(this);
  readonly #scopeCounts = new ScopeCounts(() => this.#poolOf.keys());
  #firstFreeCandidate = 1;

  /** `poolOf` are the domains of `pools`, if the caller has them; the state changes this map. */
  constructor(
    public revision: number,
    pools: Iterable<readonly [string, Pool]> = [],
    sites: Iterable<readonly [string, SiteOptions]> = [],
    poolOf?: Map<string, string>,
  ) {
    this.#sites = new Map(sites);
    for (const [host, site] of this.#sites) this.#setExpiry(host, site);
    this.#poolOf = poolOf ?? new Map();
    for (const [name, pool] of pools) {
      this.#pools.set(name, pool);
      if (pool.external) this.#external.add(name);
      if (!poolOf) for (const domain of pool.domains) this.#poolOf.set(domain, name);
    }
  }

  get pools(): ReadonlyMap<string, Pool> {
    return this.#pools;
  }

  /** The options of the hosts that have any. */
  get sites(): ReadonlyMap<string, SiteOptions> {
    return this.#sites;
  }

  /** The domains that expire, and when, in milliseconds since the epoch. */
  get expiring(): ReadonlyMap<string, number> {
    return this.#expiring;
  }

  /** The names of the external pools. */
  get externalPools(): ReadonlySet<string> {
    return this.#external;
  }

  /** Pools in use, without the external ones. */
  get ownPoolCount(): number {
    return this.#pools.size - this.#external.size;
  }

  get domainCount(): number {
    return this.#poolOf.size;
  }

  /** How many domains are in this scope. Only the first call for a scope looks at every domain. */
  domainCountIn(scope: CountedScope): number {
    return this.#scopeCounts.of(scope);
  }

  pool(name: string): Pool | undefined {
    return this.#pools.get(name);
  }

  visiblePool(name: string): Pool | undefined {
    return this.pool(name);
  }

  poolOf(domain: string): string | undefined {
    return this.#poolOf.get(domain);
  }

  site(host: string): SiteOptions | undefined {
    return this.#sites.get(host);
  }

  poolNames(): Iterable<string> {
    return this.#pools.keys();
  }

  firstFreeCandidate(): number {
    while (this.#pools.has(poolName(this.#firstFreeCandidate))) this.#firstFreeCandidate += 1;
    return this.#firstFreeCandidate;
  }

  /** All domains in code-unit order. The caller must not keep the list beyond one tick. */
  sortedDomains(): readonly string[] {
    return this.#sortedDomains.get();
  }

  /** All pools by number. The caller must not keep the list beyond one tick. */
  sortedPools(): readonly string[] {
    return this.#sortedPools.get();
  }

  /** An index to page and search all domains, or the domains of one pool. The caller must not keep it beyond one tick. */
  domainIndex(pool?: string): NameIndex {
    return pool === undefined ? this.#indexes.all() : this.#indexes.ofPool(pool);
  }

  /** Applies the delta to the state and sets its revision. */
  apply(delta: StateDelta, revision: number): void {
    const pools = addedAndRemovedPools(delta, this);
    this.#sortedPools.change(pools.added, pools.removed);
    for (const [name, pool] of delta.pools) {
      if (pool) this.#pools.set(name, pool);
      else this.#pools.delete(name);
      if (pool?.external) this.#external.add(name);
      else this.#external.delete(name);
    }
    for (const [host, site] of delta.sites ?? []) {
      if (site) this.#sites.set(host, site);
      else this.#sites.delete(host);
      this.#setExpiry(host, site);
    }
    this.#firstFreeCandidate = Math.min(this.#firstFreeCandidate, lowestFreed(delta));
    const moves: DomainMove[] = [];
    for (const [domain, pool] of delta.domains) {
      moves.push({ domain, from: this.#poolOf.get(domain), to: pool });
      if (pool === undefined) this.#poolOf.delete(domain);
      else this.#poolOf.set(domain, pool);
    }
    const added = moves
      .filter(({ from, to }) => from === undefined && to !== undefined)
      .map(({ domain }) => domain);
    const removed = moves
      .filter(({ from, to }) => from !== undefined && to === undefined)
      .map(({ domain }) => domain);
    this.#sortedDomains.change(added, removed);
    this.#scopeCounts.change(added, removed);
    this.#indexes.change(moves);
    this.revision = revision;
  }

  #setExpiry(host: string, site: SiteOptions | undefined): void {
    const time = expiryOf(site);
    if (time === undefined) this.#expiring.delete(host);
    else this.#expiring.set(host, time);
  }

  /** The state in the shape that HAProxy is compared with. `domains` is a live view: read it before the state changes. */
  routing(): Routing {
    const pools = new Map<string, PoolServers>();
    for (const [name, pool] of this.#pools) if (!pool.external) pools.set(name, pool.servers);
    return { domains: new DomainsByKey(this), pools };
  }
}

/** The pool of a domain that must exist, with the domains that an answer may show. @throws AppError domain_not_found */
export function requirePool(state: StateReader, domain: string): { name: string; pool: Pool } {
  const name = state.poolOf(domain);
  const pool = name === undefined ? undefined : state.visiblePool(name);
  if (name === undefined || !pool)
    throw new AppError(
      'domain_not_found',
      `There is no domain ${domain}. {haproxy_list_domains} lists the domains; {haproxy_add_domain} adds one.`,
    );
  return { name, pool };
}

/** As `requirePool`, for a change of its servers. @throws AppError domain_not_found, pool_external */
export function requireOwnPool(state: StateReader, domain: string): { name: string; pool: Pool } {
  const found = requirePool(state, domain);
  if (!found.pool.external) return found;
  throw new AppError(
    'pool_external',
    `${domain} points at the operator's backend ${found.name}, and the suite does not change the servers of that backend. ` +
      'Change them in haproxy.cfg, then call {haproxy_reload}. {haproxy_domain_health} shows their status.',
  );
}

/** The pools that a delta takes into use, and the pools that it frees. */
export function addedAndRemovedPools(
  delta: StateDelta,
  before: StateReader,
): { added: string[]; removed: string[] } {
  const added: string[] = [];
  const removed: string[] = [];
  for (const [name, pool] of delta.pools) {
    const existed = before.pool(name) !== undefined;
    if (pool && !existed) added.push(name);
    if (!pool && existed) removed.push(name);
  }
  return { added, removed };
}

/** The lowest number of a pool that the delta frees; infinity if it frees none. */
export function lowestFreed({ pools }: Pick<StateDelta, 'pools'>): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const [name, pool] of pools) if (!pool) lowest = Math.min(lowest, poolNumber(name) ?? lowest);
  return lowest;
}
