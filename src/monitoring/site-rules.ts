import type { RunningServerRow } from '../haproxy/parsers/server-state.parser.js';
import { groupBy } from '../lib/group-by.js';
import { slotOf } from '../model/names/pool-name.js';
import type { Pool, State } from '../model/state.js';

/** How many domains each list of an answer names. */
export const SITES_NAMED = 20;

/** Domains of one kind: the first of them by pool, and how many there are. */
export interface SiteList {
  names: string[];
  total: number;
}

/** Whether visitors of each domain get an answer, as far as HAProxy knows. */
export interface SitesOverview {
  /** No server can get requests, although one is ready: visitors get 503. */
  down: SiteList;
  /** All servers are set to drain or maint: visitors get 503, on purpose. */
  maintenance: SiteList;
  /** The pool has no server: visitors get 503. */
  noServers: SiteList;
  /** Servers get requests, but none of them has finished a health check yet. */
  checking: SiteList;
  /** Servers that are ready in the saved state, and that HAProxy does not use because their check failed, or lacks. */
  serversDown: number;
}

/** Pure; one pass over the servers of HAProxy and one over the pools. */
export function sitesOverview(state: State, rows: readonly RunningServerRow[]): SitesOverview {
  const backends = groupBy(rows, ({ backend }) => backend);
  const found: SitesOverview = {
    down: newList(),
    maintenance: newList(),
    noServers: newList(),
    checking: newList(),
    serversDown: 0,
  };
  for (const name of state.sortedPools()) {
    const pool = state.pool(name);
    if (!pool) continue;
    const servers = backends.get(name) ?? [];
    const list = listOf(pool, servers);
    if (list !== undefined) addTo(found[list], pool);
    found.serversDown += serversDown(name, pool, servers);
  }
  return found;
}

type SiteKind = Exclude<keyof SitesOverview, 'serversDown'>;

function listOf(pool: Pool, servers: readonly RunningServerRow[]): SiteKind | undefined {
  const used = servers.filter(({ running, state, weight }) => running && state === 'ready' && weight > 0);
  if (used.length > 0) return used.every(({ unchecked }) => unchecked) ? 'checking' : undefined;
  // A backend of the operator can answer by its own rules, without servers.
  if (pool.external) return servers.length === 0 ? undefined : 'down';
  if (pool.servers.size === 0) return 'noServers';
  return [...pool.servers.values()].every(({ state }) => state !== 'ready') ? 'maintenance' : 'down';
}

function serversDown(name: string, pool: Pool, rows: readonly RunningServerRow[]): number {
  const running = new Set(rows.filter((row) => row.running).map((row) => slotOf(name, row.server)));
  let down = 0;
  for (const [slot, { state }] of pool.servers) if (state === 'ready' && !running.has(slot)) down += 1;
  return down;
}

function newList(): SiteList {
  return { names: [], total: 0 };
}

function addTo(list: SiteList, { domains }: Pool): void {
  list.total += domains.length;
  list.names.push(...domains.slice(0, Math.max(0, SITES_NAMED - list.names.length)));
}
