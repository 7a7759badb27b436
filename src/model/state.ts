import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../errors/app-error.js';
import { DomainsByKey } from './names/domains-by-key.js';
import { type DomainMove, DomainIndexes, type NameIndex } from './names/name-index.js';
import { comparePoolNames, poolName, poolNumber } from './names/pool-name.js';
import { expiryOf } from './options/expiry.js';
import type { PoolOptions, SiteOptions } from './options/options.js';
import type { Routing } from './routing.js';
import type { PoolServers, ServerSpec } from './server.js';
import { SortedNames } from './names/sorted-names.js';

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

const NO_SERVERS: PoolServers = new Map();

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

  pool(name: string): Pool | undefined {
    return this.#pools.get(name);
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
    const added = moves.filter(({ from, to }) => from === undefined && to !== undefined);
    const removed = moves.filter(({ from, to }) => from !== undefined && to === undefined);
    this.#sortedDomains.change(
      added.map(({ domain }) => domain),
      removed.map(({ domain }) => domain),
    );
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

/** What a change takes back. */
export interface TakesBack {
  /** The revision that it undoes. */
  undoes?: number;
  /** The revision whose state it restores. */
  rolls_back_to?: number;
  /** Only an administrator may take this change back, because only an administrator could make it. */
  admin_only?: true;
}

/** Uncommitted changes on top of a state or of another draft. */
export class Draft implements StateReader, StateDelta {
  readonly pools = new Map<string, Pool | undefined>();
  readonly domains = new Map<string, string | undefined>();
  readonly sites = new Map<string, SiteOptions | undefined>();
  /** Pools whose servers were declared as a whole, also if that changed nothing. */
  readonly declared = new Set<string>();
  /** The former changes that this one takes back; undefined for other changes. */
  takesBack: TakesBack | undefined;
  /**
   * Whether a pool is the same pool for its domains after the change. Without an entry it is if one of its domains stays.
   * A renamed domain keeps its pool; a rollback can give the number of a pool to the domains that had it before.
   */
  readonly samePools = new Map<string, boolean>();
  /** No pool with a lower number is free. Undefined until it is asked for. */
  #firstFreeCandidate: number | undefined;
  /**
   * Pool → its list of domains, if this draft has made the list. `addDomain` extends it in place, because a copy for each of
   * 100,000 domains of one pool takes minutes. So a pool that the draft returned earlier can have the longer list.
   */
  readonly #ownLists = new Map<string, string[]>();

  constructor(readonly base: StateReader) {}

  get isEmpty(): boolean {
    return this.pools.size + this.domains.size + this.sites.size === 0;
  }

  pool(name: string): Pool | undefined {
    return this.pools.has(name) ? this.pools.get(name) : this.base.pool(name);
  }

  poolOf(domain: string): string | undefined {
    return this.domains.has(domain) ? this.domains.get(domain) : this.base.poolOf(domain);
  }

  site(host: string): SiteOptions | undefined {
    return this.sites.has(host) ? this.sites.get(host) : this.base.site(host);
  }

  *poolNames(): Iterable<string> {
    for (const name of this.base.poolNames()) if (!this.pools.has(name)) yield name;
    for (const [name, pool] of this.pools) if (pool) yield name;
  }

  firstFreeCandidate(): number {
    let candidate = this.#firstFreeCandidate ?? Math.min(this.base.firstFreeCandidate(), lowestFreed(this));
    while (this.pool(poolName(candidate))) candidate += 1;
    this.#firstFreeCandidate = candidate;
    return candidate;
  }

  /** Must be called with each change that can free pools. */
  #freed(delta: Pick<StateDelta, 'pools'>): void {
    if (this.#firstFreeCandidate !== undefined)
      this.#firstFreeCandidate = Math.min(this.#firstFreeCandidate, lowestFreed(delta));
  }

  /** The domain must not exist yet; the pool may be new. `external`: a new pool is a backend of the operator. */
  addDomain(domain: string, pool: string, external = false): void {
    const present = this.poolOf(domain);
    if (present !== undefined) throw new Error(`invariant: ${domain} is already in ${present}`);
    const former: Pool = this.pool(pool) ?? {
      domains: [],
      servers: NO_SERVERS,
      ...(external && { external }),
    };
    const own = this.#ownLists.get(pool);
    const domains = own !== undefined && own === former.domains ? own : [...former.domains];
    domains.push(domain);
    this.#ownLists.set(pool, domains);
    this.pools.set(pool, { ...former, domains });
    this.domains.set(domain, pool);
  }

  removeDomain(domain: string): void {
    this.removeDomains([domain]);
  }

  /**
   * Removes domains, with one pass over the list of each pool. Removing the last domain of a pool frees the pool and removes
   * its servers.
   */
  removeDomains(removed: readonly string[]): void {
    const byPool = new Map<string, Set<string>>();
    for (const domain of removed) {
      const name = this.poolOf(domain);
      if (name === undefined) throw new Error(`invariant: ${domain} is in no pool`);
      const found = byPool.get(name) ?? new Set();
      byPool.set(name, found.add(domain));
    }
    for (const [name, leaving] of byPool) {
      const pool = this.pool(name);
      if (!pool) throw new Error(`invariant: there is no ${name}`);
      const domains = pool.domains.filter((domain) => !leaving.has(domain));
      this.pools.set(name, domains.length === 0 ? undefined : { ...pool, domains });
      if (domains.length === 0) this.#freed({ pools: new Map([[name, undefined]]) });
      for (const domain of leaving) {
        this.domains.set(domain, undefined);
        this.setSite(domain, undefined);
      }
    }
  }

  /** Moves a domain with its options to another pool; frees its former pool if that was the last domain there. */
  moveDomain(domain: string, pool: string, external = false): void {
    const site = this.site(domain);
    this.removeDomain(domain);
    this.addDomain(domain, pool, external);
    this.setSite(domain, site);
  }

  /** Gives a domain another name: the same place in its pool, and the same options. `to` must not exist yet. */
  renameDomain(from: string, to: string): void {
    const name = this.poolOf(from);
    const pool = name === undefined ? undefined : this.pool(name);
    if (name === undefined || !pool) throw new Error(`invariant: ${from} is in no pool`);
    if (this.poolOf(to) !== undefined) throw new Error(`invariant: ${to} exists`);
    this.pools.set(name, { ...pool, domains: pool.domains.map((other) => (other === from ? to : other)) });
    this.samePools.set(name, true);
    this.domains.set(from, undefined);
    this.domains.set(to, name);
    this.setSite(to, this.site(from));
    this.setSite(from, undefined);
  }

  /** Sets or, with undefined, removes the options of a host. */
  setSite(host: string, site: SiteOptions | undefined): void {
    if (!isDeepStrictEqual(this.base.site(host), site)) this.sites.set(host, site);
    else this.sites.delete(host);
  }

  /** Replaces the options of a pool; undefined removes them. */
  setPoolOptions(poolName: string, options: PoolOptions | undefined): void {
    const { options: _, ...pool } = this.#existing(poolName);
    this.pools.set(poolName, { ...pool, ...(options && { options }) });
  }

  putServer(poolName: string, slot: number, server: ServerSpec): void {
    const pool = this.#existing(poolName);
    const servers = new Map(pool.servers).set(slot, server);
    this.pools.set(poolName, { ...pool, servers });
  }

  /** Replaces all servers of a pool. */
  setServers(poolName: string, servers: PoolServers): void {
    this.pools.set(poolName, { ...this.#existing(poolName), servers });
  }

  removeServer(poolName: string, slot: number): void {
    const pool = this.#existing(poolName);
    const servers = new Map(pool.servers);
    if (!servers.delete(slot)) throw new Error(`invariant: ${poolName} has no slot ${slot}`);
    this.pools.set(poolName, { ...pool, servers });
  }

  /**
   * Replaces or frees whole pools. For many domains: `addDomain` would copy the list of a pool for each domain. A domain
   * that these pools have now must afterwards be in one of them or in no pool.
   */
  replacePools(pools: ReadonlyMap<string, Pool | undefined>): void {
    for (const name of pools.keys())
      for (const domain of this.pool(name)?.domains ?? []) this.domains.set(domain, undefined);
    for (const [name, pool] of pools) {
      this.pools.set(name, pool);
      for (const domain of pool?.domains ?? []) {
        if (this.base.poolOf(domain) === name) this.domains.delete(domain);
        else this.domains.set(domain, name);
      }
    }
    this.#freed({ pools });
    for (const [domain, pool] of this.domains) if (pool === undefined) this.setSite(domain, undefined);
  }

  /** Adds the changes of another draft that was made on top of this one. */
  merge(delta: StateDelta): void {
    if (delta instanceof Draft) for (const pool of delta.declared) this.declared.add(pool);
    for (const [name, pool] of delta.pools) this.pools.set(name, pool);
    this.#freed(delta);
    for (const [domain, pool] of delta.domains) this.domains.set(domain, pool);
    for (const [host, site] of delta.sites ?? []) this.sites.set(host, site);
  }

  #existing(name: string): Pool {
    const pool = this.pool(name);
    if (!pool) throw new Error(`invariant: there is no ${name}`);
    if (pool.external) throw new Error(`invariant: the servers of ${name} belong to the operator`);
    return pool;
  }
}

/** The pool of a domain that must exist. @throws AppError domain_not_found */
export function requirePool(state: StateReader, domain: string): { name: string; pool: Pool } {
  const name = state.poolOf(domain);
  const pool = name === undefined ? undefined : state.pool(name);
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
function lowestFreed({ pools }: Pick<StateDelta, 'pools'>): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const [name, pool] of pools) if (!pool) lowest = Math.min(lowest, poolNumber(name) ?? lowest);
  return lowest;
}
