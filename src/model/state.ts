import type { PoolServers, Routing, ServerSpec } from './routing.js';
import { DomainsByKey } from './domains-by-key.js';
import type { NameIndex } from './name-index.js';
import { type Move, NameIndexes } from './name-indexes.js';
import { BY_NUMBER, SortedNames } from './sorted-names.js';

/** One pool as it is wanted. Immutable: a change makes a new one, so that what is rendered from it can be kept. */
export interface Pool {
  /** Canonical domains and wildcards, in the order they came; never empty. */
  readonly domains: readonly string[];
  readonly servers: PoolServers;
}

/** What can be asked of a committed state and of a draft alike. */
export interface StateReader {
  pool(name: string): Pool | undefined;
  poolOf(domain: string): string | undefined;
  /** All pools with a domain, in no particular order. */
  poolNames(): Iterable<string>;
  /** No pool with a lower number is free: where to begin to look for one that is. */
  freeFrom(): number;
}

/** What a draft changed: enough to plan with, without a look at what it left alone. */
export interface StateDelta {
  /** Pool → as it is to be, or undefined where it is given back. */
  readonly pools: ReadonlyMap<string, Pool | undefined>;
  /** Domain → its pool, or undefined where it is removed. */
  readonly domains: ReadonlyMap<string, string | undefined>;
}

const NO_SERVERS: PoolServers = new Map();

/** `pool_7` → 7; undefined for anything else. */
export function poolNumber(name: string): number | undefined {
  return /^pool_[1-9]\d{0,5}$/.test(name) ? Number(name.slice('pool_'.length)) : undefined;
}

function lowestGivenBack({ pools }: StateDelta): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const [name, pool] of pools) if (!pool) lowest = Math.min(lowest, poolNumber(name) ?? lowest);
  return lowest;
}

/** The desired state: every domain, pool and server. Held in memory whole; changed only by folding a draft into it. */
export class State implements StateReader {
  readonly #pools = new Map<string, Pool>();
  readonly #poolOf = new Map<string, string>();
  readonly #sorted = new SortedNames(() => this.#poolOf.keys());
  readonly #sortedPools = new SortedNames(() => this.#pools.keys(), BY_NUMBER);
  readonly #names = new NameIndexes(this);
  #freeFrom = 1;

  constructor(
    public revision: number,
    pools: Iterable<readonly [string, Pool]> = [],
  ) {
    for (const [name, pool] of pools) {
      this.#pools.set(name, pool);
      for (const domain of pool.domains) this.#poolOf.set(domain, name);
    }
  }

  get pools(): ReadonlyMap<string, Pool> {
    return this.#pools;
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

  poolNames(): Iterable<string> {
    return this.#pools.keys();
  }

  freeFrom(): number {
    while (this.#pools.has(`pool_${this.#freeFrom}`)) this.#freeFrom += 1;
    return this.#freeFrom;
  }

  /** All domains in code-unit order. Read it within one tick. */
  sortedDomains(): readonly string[] {
    return this.#sorted.get();
  }

  /** All pools by number. Read it within one tick. */
  sortedPools(): readonly string[] {
    return this.#sortedPools.get();
  }

  /** The domains, all or of a pool, to be paged and searched. Read it within one tick. */
  names(pool?: string): NameIndex {
    return pool === undefined ? this.#names.all() : this.#names.ofPool(pool);
  }

  fold(change: StateDelta, revision: number): void {
    const pools = poolsThatComeAndGo(change, this);
    this.#sortedPools.change(pools.added, pools.removed);
    for (const [name, pool] of change.pools) {
      if (pool) this.#pools.set(name, pool);
      else this.#pools.delete(name);
    }
    this.#freeFrom = Math.min(this.#freeFrom, lowestGivenBack(change));
    const moves: Move[] = [];
    for (const [domain, pool] of change.domains) {
      moves.push({ domain, from: this.#poolOf.get(domain), to: pool });
      if (pool === undefined) this.#poolOf.delete(domain);
      else this.#poolOf.set(domain, pool);
    }
    const added = moves.filter(({ from, to }) => from === undefined && to !== undefined);
    const removed = moves.filter(({ from, to }) => from !== undefined && to === undefined);
    this.#sorted.change(
      added.map(({ domain }) => domain),
      removed.map(({ domain }) => domain),
    );
    this.#names.change(moves);
    this.revision = revision;
  }

  /** The state as HAProxy should have it; read it before the state changes. */
  routing(): Routing {
    const pools = new Map<string, PoolServers>();
    for (const [name, pool] of this.#pools) pools.set(name, pool.servers);
    return { domains: new DomainsByKey(this), pools };
  }
}

/** The pools that a change takes into use, and those that it gives back. */
export function poolsThatComeAndGo(
  change: StateDelta,
  before: StateReader,
): { added: string[]; removed: string[] } {
  const added: string[] = [];
  const removed: string[] = [];
  for (const [name, pool] of change.pools) {
    const isThere = before.pool(name) !== undefined;
    if (pool && !isThere) added.push(name);
    if (!pool && isThere) removed.push(name);
  }
  return { added, removed };
}

/** Changes on top of a state, kept apart until they are committed; drafts stack, so that one of a group can fail alone. */
export class Draft implements StateReader, StateDelta {
  readonly pools = new Map<string, Pool | undefined>();
  readonly domains = new Map<string, string | undefined>();

  constructor(readonly base: StateReader) {}

  get isEmpty(): boolean {
    return this.pools.size === 0 && this.domains.size === 0;
  }

  pool(name: string): Pool | undefined {
    return this.pools.has(name) ? this.pools.get(name) : this.base.pool(name);
  }

  poolOf(domain: string): string | undefined {
    return this.domains.has(domain) ? this.domains.get(domain) : this.base.poolOf(domain);
  }

  *poolNames(): Iterable<string> {
    for (const name of this.base.poolNames()) if (!this.pools.has(name)) yield name;
    for (const [name, pool] of this.pools) if (pool) yield name;
  }

  freeFrom(): number {
    return Math.min(this.base.freeFrom(), lowestGivenBack(this));
  }

  /** The domain must not exist yet; the pool may be new. */
  addDomain(domain: string, poolName: string): void {
    const present = this.poolOf(domain);
    if (present !== undefined) throw new Error(`invariant: ${domain} is in ${present} already`);
    const pool = this.pool(poolName) ?? { domains: [], servers: NO_SERVERS };
    this.pools.set(poolName, { ...pool, domains: [...pool.domains, domain] });
    this.domains.set(domain, poolName);
  }

  /** Removing the last domain of a pool gives the pool back, its servers with it. */
  removeDomain(domain: string): void {
    const poolName = this.poolOf(domain);
    const pool = poolName === undefined ? undefined : this.pool(poolName);
    if (poolName === undefined || !pool) throw new Error(`invariant: ${domain} is in no pool`);
    const domains = pool.domains.filter((other) => other !== domain);
    this.pools.set(poolName, domains.length === 0 ? undefined : { ...pool, domains });
    this.domains.set(domain, undefined);
  }

  putServer(poolName: string, slot: number, server: ServerSpec): void {
    const pool = this.#existing(poolName);
    const servers = new Map(pool.servers).set(slot, server);
    this.pools.set(poolName, { ...pool, servers });
  }

  removeServer(poolName: string, slot: number): void {
    const pool = this.#existing(poolName);
    const servers = new Map(pool.servers);
    if (!servers.delete(slot)) throw new Error(`invariant: ${poolName} has no slot ${slot}`);
    this.pools.set(poolName, { ...pool, servers });
  }

  /**
   * Replaces whole pools at once, or gives them back: for many domains, where one at a time would copy the list of
   * its pool for each. A domain that these pools have now must be in one of them afterwards, or in none.
   */
  putPools(pools: ReadonlyMap<string, Pool | undefined>): void {
    for (const name of pools.keys())
      for (const domain of this.pool(name)?.domains ?? []) this.domains.set(domain, undefined);
    for (const [name, pool] of pools) {
      this.pools.set(name, pool);
      for (const domain of pool?.domains ?? []) {
        if (this.base.poolOf(domain) === name) this.domains.delete(domain);
        else this.domains.set(domain, name);
      }
    }
  }

  /** Takes over what another draft, made on top of this one, changed. */
  merge(change: StateDelta): void {
    for (const [name, pool] of change.pools) this.pools.set(name, pool);
    for (const [domain, pool] of change.domains) this.domains.set(domain, pool);
  }

  #existing(poolName: string): Pool {
    const pool = this.pool(poolName);
    if (!pool) throw new Error(`invariant: there is no ${poolName}`);
    return pool;
  }
}
