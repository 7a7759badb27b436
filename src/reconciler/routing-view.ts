import { groupBy } from '../lib/group-by.js';
import { canonicalIp } from '../model/addresses/ip-address.js';
import type { Routing, Step } from '../model/routing.js';
import type { ApplyResult } from '../haproxy/runtime/step-runner.js';
import type { ProcessIdentity } from '../haproxy/runtime/process-identity.js';
import { mapKeyOf, parseMapKey } from '../model/names/domain-name.js';
import type { Pool, StateDelta } from '../model/state.js';
import { isPoolName } from '../model/names/pool-name.js';
import type { ParkedSlots } from './plan.js';
import type { PoolServers, ServerSpec } from '../model/server.js';
import { type SiteEntry, siteOfKey, type SiteRecord, type SiteRecords } from '../model/sites/site-maps.js';

/** What was read from HAProxy. `backends` is missing if the reader did not ask for the pools. */
interface ActualRouting extends Pick<Routing, 'pools' | 'sites'> {
  readonly domains: Map<string, string>;
  readonly backends?: ReadonlySet<string>;
  readonly unchecked?: ReadonlySet<string>;
  readonly options?: ReadonlyMap<string, string>;
}

/** Steps that HAProxy executed, and the servers and pools that it kept although a step removed them. */
interface ExecutedSteps extends Pick<ApplyResult, 'parked' | 'keptPools'> {
  steps: readonly Step[];
}

export interface Sides {
  from: Routing;
  to: Routing;
  /** The pools of the change that HAProxy has. */
  backends?: ReadonlySet<string>;
}

/**
 * What HAProxy is known to have: what was read from it, updated with each step that it accepted. A slot without an
 * address or in maintenance that the desired state does not use is `parked`: it can be used again.
 */
export class RoutingView {
  readonly #domains: Map<string, string>;
  /** Map keys that the suite would not write. They belong to the operator, and a restore does not change them. */
  readonly #foreign = new Set<string>();
  readonly #pools = new Map<string, Map<number, ServerSpec>>();
  readonly #parked = new Map<string, Set<number>>();
  readonly #hidden: ReadonlySet<string>;
  /** Servers that HAProxy had without a health check when it was read. The suite creates only servers with one. */
  readonly unchecked: ReadonlySet<string>;
  /** The tags of the options that HAProxy has, by pool (`LoadedOptions`). */
  readonly options: Map<string, string>;
  /** Undefined if the pools were not read. */
  readonly #backends: Set<string> | undefined;
  /** Undefined if HAProxy has rules without site options. */
  readonly #sites: Map<string, SiteRecord> | undefined;
  /** Executed steps that the view does not contain yet. The next read adds them, so that a restore does not wait. */
  #pending: ExecutedSteps[] = [];

  /**
   * `desired` distinguishes a server that should be in maintenance from a parked slot. `leave` names pools that the view
   * hides while the desired state does not use them: left by the adoption, or external. `process` is the process that was
   * read. `removed` are keys that the suite removed, so that they are not the operator's. The view changes the map
   * `actual.domains`: a copy of 100,000 entries would delay each start.
   */
  constructor(
    actual: ActualRouting,
    desired: Routing,
    leave: ReadonlySet<string> = new Set(),
    readonly process?: ProcessIdentity,
    removed: ReadonlySet<string> = new Set(),
  ) {
    this.#domains = actual.domains;
    this.#backends = actual.backends && new Set(actual.backends);
    this.#sites = actual.sites && new Map(actual.sites);
    this.unchecked = actual.unchecked ?? new Set();
    this.options = new Map(actual.options);
    for (const [key, value] of actual.domains)
      if (
        !desired.domains.has(key) &&
        !removed.has(key) &&
        (!isPoolName(value) || parseMapKey(key) === undefined)
      )
        this.#foreign.add(key);
    for (const [pool, servers] of actual.pools) {
      const wanted = desired.pools.get(pool);
      for (const [slot, server] of servers) {
        const idle = server.state === 'maint' || canonicalIp(server.ip) === undefined;
        if (idle && !wanted?.has(slot)) this.#parkedIn(pool).add(slot);
        else this.#serversIn(pool).set(slot, server);
      }
    }
    this.#hidden = new Set([...leave].filter((pool) => !desired.pools.has(pool)));
  }

  /** What the suite manages, to compare with the desired state. */
  get routing(): Routing {
    this.#foldPending();
    const domains = this.#foreign.size === 0 ? this.#domains : new Map(this.#domains);
    for (const key of this.#foreign) domains.delete(key);
    const pools = this.#hidden.size === 0 ? this.#pools : new Map(this.#pools);
    for (const pool of this.#hidden) pools.delete(pool);
    return { domains, pools, ...(this.#sites && { sites: this.#sites }) };
  }

  /** Whether the rules of HAProxy know the options of sites. */
  get knowsSites(): boolean {
    return this.#sites !== undefined;
  }

  /** The backend of a map key. */
  poolOf(key: string): string | undefined {
    this.#foldPending();
    return this.#domains.get(key);
  }

  get parked(): ParkedSlots {
    this.#foldPending();
    return this.#parked;
  }

  /** Whether HAProxy has a server in the pool, also a parked one. */
  hasServers(pool: string): boolean {
    this.#foldPending();
    return (this.#pools.get(pool)?.size ?? 0) + (this.#parked.get(pool)?.size ?? 0) > 0;
  }

  /** The pools that HAProxy has. */
  get backends(): ReadonlySet<string> | undefined {
    this.#foldPending();
    return this.#backends;
  }

  /** Removes a parked slot that HAProxy has deleted. */
  forgetParked(pool: string, slot: number): void {
    this.#foldPending();
    this.#parked.get(pool)?.delete(slot);
  }

  /** Both sides of a change for `plan`, limited to what the change touches. `sites` are the options after the change. */
  sidesOf(delta: StateDelta, sites: SiteRecords = new Map()): Sides {
    this.#foldPending();
    const known = this.#sites;
    const present = known && new Map([...sites.keys()].map((key) => [key, known.get(key) ?? []]));
    const from = {
      domains: new Map<string, string>(),
      pools: new Map<string, PoolServers>(),
      ...(present && { sites: present }),
    };
    const to = { domains: new Map<string, string>(), pools: new Map<string, PoolServers>(), sites };
    for (const [domain, pool] of delta.domains) {
      const key = mapKeyOf(domain);
      const present = this.#domains.get(key);
      if (present !== undefined) from.domains.set(key, present);
      if (pool !== undefined) to.domains.set(key, pool);
    }
    const managed = [...delta.pools].filter(([name, pool]) => this.#isManaged(name, pool));
    for (const [name, pool] of managed) {
      const present = this.#pools.get(name);
      if (present) from.pools.set(name, present);
      if (pool) to.pools.set(name, pool.servers);
    }
    if (!this.#backends) return { from, to };
    const backends = managed.map(([name]) => name).filter((name) => this.#backends?.has(name));
    return { from, to, backends: new Set(backends) };
  }

  /** Whether the suite owns the servers of a pool that becomes `pool`. */
  #isManaged(name: string, pool: Pool | undefined): boolean {
    if (!isPoolName(name) || pool?.external) return false;
    return pool !== undefined || !this.#hidden.has(name);
  }

  /** Adds steps that HAProxy executed. */
  add(executed: ExecutedSteps): void {
    this.#pending.push(executed);
  }

  #foldPending(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const { steps, parked, keptPools } of pending) {
      for (const step of steps) this.#foldStep(step);
      for (const { pool, slot } of parked) this.#parkedIn(pool).add(slot);
      for (const pool of keptPools) this.#backends?.add(pool);
      for (const step of steps)
        if (step.op === 'remove_pool' && !this.#backends?.has(step.pool)) this.#parked.delete(step.pool);
    }
  }

  #foldStep(step: Step): void {
    switch (step.op) {
      case 'add_pool':
        this.#backends?.add(step.pool);
        this.options.delete(step.pool);
        return;
      case 'remove_pool':
        this.#backends?.delete(step.pool);
        return;
      case 'add_site_entries':
        this.#addSiteEntries(step.entries);
        return;
      case 'set_site_entry':
        this.#replaceSiteEntry(step.entry, [step.entry]);
        return;
      case 'del_site_entry':
        this.#replaceSiteEntry(step.entry, []);
        return;
      case 'add_domains':
        for (const [index, key] of step.keys.entries()) this.#setDomain(key, step.pools[index]);
        return;
      case 'set_domain':
        this.#setDomain(step.key, step.pool);
        return;
      case 'del_domain':
        this.#domains.delete(step.key);
        return;
      case 'put_server':
        this.#serversIn(step.pool).set(step.slot, step.server);
        this.#parked.get(step.pool)?.delete(step.slot);
        return;
      case 'remove_server':
        this.#serversIn(step.pool).delete(step.slot);
        return;
      case 'set_weight':
        this.#adjust(step.pool, step.slot, { weight: step.weight });
        return;
      case 'set_state':
        this.#adjust(step.pool, step.slot, { state: step.state });
    }
  }

  #addSiteEntries(entries: readonly SiteEntry[]): void {
    for (const [site, added] of groupBy(entries, ({ key }) => siteOfKey(key)))
      this.#sites?.set(site, [...(this.#sites.get(site) ?? []), ...added]);
  }

  #replaceSiteEntry({ map, key }: SiteEntry, by: SiteRecord): void {
    const site = siteOfKey(key);
    const others = this.#sites?.get(site)?.filter((other) => other.map !== map || other.key !== key) ?? [];
    if (others.length + by.length === 0) this.#sites?.delete(site);
    else this.#sites?.set(site, [...others, ...by]);
  }

  #setDomain(key: string, pool = ''): void {
    this.#domains.set(key, pool);
    this.#foreign.delete(key);
  }

  #adjust(pool: string, slot: number, change: Partial<ServerSpec>): void {
    const server = this.#serversIn(pool).get(slot);
    if (server) this.#serversIn(pool).set(slot, { ...server, ...change });
  }

  #serversIn(pool: string): Map<number, ServerSpec> {
    return entry(this.#pools, pool, () => new Map<number, ServerSpec>());
  }

  #parkedIn(pool: string): Set<number> {
    return entry(this.#parked, pool, () => new Set<number>());
  }
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
