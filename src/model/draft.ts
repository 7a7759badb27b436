import { isDeepStrictEqual } from 'node:util';
import { poolName } from './names/pool-name.js';
import type { PoolOptions, SiteOptions } from './options/options.js';
import type { PoolServers, ServerSpec } from './server.js';
import { lowestFreed, type Pool, type StateDelta, type StateReader } from './state.js';

const NO_SERVERS: PoolServers = new Map();

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

  visiblePool(name: string): Pool | undefined {
    return this.pool(name);
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
