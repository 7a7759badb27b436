import type { Routing, Step } from '../model/routing.js';
import type { SiteEntry, SiteRecord, SiteRecords } from '../model/sites/site-maps.js';
import {
  isInService,
  isSameAddress,
  type PoolServers,
  serverAddress,
  type ServerSpec,
} from '../model/server.js';

/** Parked slots: servers in maintenance that exist in HAProxy, belong to no domain and can be used again. Pool → slots. */
export type ParkedSlots = ReadonlyMap<string, ReadonlySet<number>>;

/** The pools of HAProxy, for a plan that creates or deletes pools. */
export interface PoolFacts {
  /** The pools that HAProxy has, with or without servers. */
  readonly backends: ReadonlySet<string>;
  /** Whether HAProxy keeps the pool when no domain uses it. */
  stays(pool: string): boolean;
}

const NOTHING: ReadonlyMap<never, never> = new Map<never, never>();
const NO_SLOTS: ReadonlySet<number> = new Set();

/**
 * The steps that turn `from` into `to`. Pure, and the only place that decides what the suite changes in HAProxy: a
 * change, a restore, a rollback and a drift repair call this function with different arguments.
 *
 * The order ensures that no request fails. Removed names go first, so that no request reaches a pool that changes its
 * owner; a name whose pool gets another name and no new server (a rename) goes after the new name exists. Servers exist
 * before a name points to them. In each pool, servers come into service before others leave it. Servers without a name
 * go last. The options of a site exist before its name is routed, and until its name is gone; `planSites` has their
 * order. Missing pools are created before their servers, and unused pools are deleted after everything else. Without
 * `facts` the plan assumes that every pool exists.
 */
export function plan(from: Routing, to: Routing, parked: ParkedSlots = NOTHING, facts?: PoolFacts): Step[] {
  const steps: Step[] = [];
  const { early, late } = removedKeys(from, to);
  for (const key of early) steps.push({ op: 'del_domain', key });

  if (facts)
    for (const pool of to.pools.keys()) if (!facts.backends.has(pool)) steps.push({ op: 'add_pool', pool });

  const removals: Step[] = [];
  const withdrawals: Step[] = [];
  const entries: Step[] = [];
  const departures: Step[] = [];
  for (const pool of new Set([...from.pools.keys(), ...to.pools.keys()])) {
    planPool(
      pool,
      from.pools.get(pool) ?? NOTHING,
      to.pools.get(pool) ?? NOTHING,
      parked.get(pool) ?? NO_SLOTS,
      { withdrawals, entries, departures, removals },
    );
  }
  for (const list of [withdrawals, entries, departures]) for (const step of list) steps.push(step);

  const sites = planSites(from.sites, to.sites);
  for (const step of sites.before) steps.push(step);

  const added = { keys: [] as string[], pools: [] as string[] };
  to.domains.forEach((pool, key) => {
    const present = from.domains.get(key);
    if (present === undefined) {
      added.keys.push(key);
      added.pools.push(pool);
    } else if (present !== pool) steps.push({ op: 'set_domain', key, pool });
  });
  if (added.keys.length > 0) steps.push({ op: 'add_domains', ...added });
  for (const key of late) steps.push({ op: 'del_domain', key });
  for (const step of sites.after) steps.push(step);
  // Not `push(...removals)`: a restore can have more removals than a call can have arguments.
  for (const removal of removals) steps.push(removal);
  for (const pool of facts?.backends ?? [])
    if (!to.pools.has(pool) && !facts?.stays(pool)) steps.push({ op: 'remove_pool', pool });
  return steps;
}

/**
 * The steps for the options of sites. A request reads the entry of its site in the map `sites` once, and that entry names
 * the options. So details are added before that entry names them, and deleted after it does not name them any more: a
 * request sees all of a change or nothing of it.
 */
function planSites(
  from: SiteRecords | undefined,
  to: SiteRecords | undefined,
): Record<'before' | 'after', Step[]> {
  if (!from || !to) return { before: [], after: [] };
  const details = { added: [] as SiteEntry[], set: [] as Step[], removed: [] as Step[] };
  const sites = { added: [] as SiteEntry[], set: [] as Step[], removed: [] as Step[] };
  const compare = (former: SiteRecord, wanted: SiteRecord): void => {
    const present = new Map(former.map((entry) => [entryId(entry), entry]));
    for (const entry of wanted) {
      const lists = entry.map === 'sites' ? sites : details;
      const id = entryId(entry);
      const found = present.get(id);
      present.delete(id);
      if (!found) lists.added.push(entry);
      else if (found.value !== entry.value)
        lists.set.push({ op: 'set_site_entry', entry, former: found.value });
    }
    for (const entry of present.values())
      (entry.map === 'sites' ? sites : details).removed.push({ op: 'del_site_entry', entry });
  };
  for (const [key, wanted] of to) compare(from.get(key) ?? [], wanted);
  for (const [key, former] of from) if (!to.has(key)) compare(former, []);
  return {
    before: [...addition(details.added), ...details.set, ...addition(sites.added), ...sites.set],
    after: [...sites.removed, ...details.removed],
  };
}

function addition(entries: readonly SiteEntry[]): Step[] {
  return entries.length === 0 ? [] : [{ op: 'add_site_entries', entries }];
}

function entryId({ map, key }: SiteEntry): string {
  return `${map} ${key}`;
}

/** The keys to delete: `early` before anything else changes, `late` after the new keys exist. */
function removedKeys(from: Routing, to: Routing): Record<'early' | 'late', string[]> {
  const removed = { early: [] as string[], late: [] as string[] };
  let gaining: ReadonlySet<string> | undefined;
  for (const [key, pool] of from.domains) {
    if (to.domains.has(key)) continue;
    gaining ??= poolsWithNewKeys(from, to);
    const isSafe = gaining.has(pool) && !getsNewAddress(from.pools.get(pool), to.pools.get(pool));
    removed[isSafe ? 'late' : 'early'].push(key);
  }
  return removed;
}

function poolsWithNewKeys(from: Routing, to: Routing): Set<string> {
  const pools = new Set<string>();
  to.domains.forEach((pool, key) => {
    if (!from.domains.has(key)) pools.add(pool);
  });
  return pools;
}

/** Whether the pool gets a server at an address that it did not have: then it may belong to another owner now. */
function getsNewAddress(from: PoolServers = NOTHING, to: PoolServers = NOTHING): boolean {
  const known = new Set([...from.values()].map((server) => serverAddress(server)));
  return [...to.values()].some((server) => !known.has(serverAddress(server)));
}

function planPool(
  pool: string,
  from: PoolServers,
  to: PoolServers,
  parked: ReadonlySet<number>,
  lists: Record<'withdrawals' | 'entries' | 'departures' | 'removals', Step[]>,
): void {
  const checkFirst = hasServing(from, to) ? ({ checkFirst: true } as const) : undefined;
  for (const [slot, server] of to) {
    const present = from.get(slot);
    if (!present || !isSameAddress(present, server)) {
      const joins = server.state === 'ready' ? checkFirst : undefined;
      const exists = present !== undefined || parked.has(slot);
      // Its first request at the new address comes after a check too.
      if (joins && present?.state === 'ready')
        lists.withdrawals.push({ op: 'set_state', pool, slot, state: 'maint', temporary: true });
      const step: Step = { op: 'put_server', pool, slot, server, exists, ...joins };
      lists[isInService(server) ? 'entries' : 'departures'].push(step);
    } else {
      lists[isInService(server) ? 'entries' : 'departures'].push(
        ...adjustments(pool, slot, present, server, checkFirst),
      );
    }
  }
  for (const slot of from.keys()) if (!to.has(slot)) lists.removals.push({ op: 'remove_server', pool, slot });
}

/** Whether a server of the pool gets requests before, during and after the change. */
function hasServing(from: PoolServers, to: PoolServers): boolean {
  for (const [slot, present] of from) {
    const wanted = to.get(slot);
    if (wanted && isInService(present) && isInService(wanted) && isSameAddress(present, wanted)) return true;
  }
  return false;
}

function adjustments(
  pool: string,
  slot: number,
  from: ServerSpec,
  to: ServerSpec,
  checkFirst?: { readonly checkFirst: true },
): Step[] {
  const weight: Step[] =
    from.weight === to.weight ? [] : [{ op: 'set_weight', pool, slot, weight: to.weight }];
  // HAProxy checks a drained server, but not one in maintenance.
  const joins = from.state === 'maint' && to.state === 'ready' ? checkFirst : undefined;
  const state: Step[] =
    from.state === to.state ? [] : [{ op: 'set_state', pool, slot, state: to.state, ...joins }];
  // A server that leaves service stops getting requests before its weight changes. A server that becomes ready gets its
  // weight first.
  return to.state === 'ready' ? [...weight, ...state] : [...state, ...weight];
}

/** How many names and servers a plan touches. The steps of one server are adjacent in a plan. */
export function countTouched(steps: readonly Step[]): { domains: number; servers: number } {
  const touched = { domains: 0, servers: 0 };
  let last: Step | undefined;
  for (const step of steps) {
    if (step.op === 'set_state' && step.temporary) continue;
    if (step.op === 'add_domains') touched.domains += step.keys.length;
    else if ('key' in step) touched.domains += 1;
    else if ('slot' in step && !isOfSameServer(step, last)) touched.servers += 1;
    last = step;
  }
  return touched;
}

function isOfSameServer(step: Extract<Step, { slot: number }>, last: Step | undefined): boolean {
  return last !== undefined && 'slot' in last && last.slot === step.slot && last.pool === step.pool;
}
