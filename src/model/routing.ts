import type { PoolServers, ServerSpec, ServerState } from './server.js';
import type { SiteEntry, SiteRecords } from './sites/site-maps.js';

/**
 * The part of HAProxy that the suite changes: the pool of each domain, and the servers of each pool. The desired state
 * and the content of a running HAProxy both have this shape, so that one `plan` compares any two.
 */
export interface Routing {
  /** Key of `domains.map` (`example.com`, or `.example.com` for `*.example.com`) → pool name. */
  readonly domains: ReadonlyMap<string, string>;
  /** Pool name → servers. A pool without servers may be absent. */
  readonly pools: ReadonlyMap<string, PoolServers>;
  /** The options of sites. Absent if they are not compared, as with a HAProxy whose rules have no options. */
  readonly sites?: SiteRecords;
}

/**
 * One step of a plan. HaproxyRuntimeService sends it as one or a few commands of the Runtime API. With `checkFirst` the
 * server gets its first request after a passed health check.
 */
export type Step =
  /** Creates a pool that HAProxy does not have (HAProxy 3.4 and newer). */
  | { op: 'add_pool'; pool: string }
  /** Creates a server in a slot, or, if `exists`, changes the address of the server in the slot. */
  | { op: 'put_server'; pool: string; slot: number; server: ServerSpec; exists: boolean; checkFirst?: true }
  | { op: 'set_weight'; pool: string; slot: number; weight: number }
  /** `temporary`: the same plan gives the server a new address and then its state. */
  | {
      op: 'set_state';
      pool: string;
      slot: number;
      state: ServerState;
      checkFirst?: true;
      temporary?: true;
    }
  /** Sets maintenance, and deletes the server once it is idle. A server with connections stays in maintenance. */
  | { op: 'remove_server'; pool: string; slot: number }
  /** Adds keys that HAProxy does not have. `pools` has the pool of each key. One step, because a restore may have 100,000. */
  | { op: 'add_domains'; keys: readonly string[]; pools: readonly string[] }
  | { op: 'set_domain'; key: string; pool: string }
  | { op: 'del_domain'; key: string }
  /** Adds entries that HAProxy does not have to the maps of the site options. One step, because a restore may have many. */
  | { op: 'add_site_entries'; entries: readonly SiteEntry[] }
  | { op: 'set_site_entry'; entry: SiteEntry; former: string }
  | { op: 'del_site_entry'; entry: SiteEntry }
  /** Deletes a pool once it has no server. A pool that still has one stays, and can be used again. */
  | { op: 'remove_pool'; pool: string };

/**
 * A step as it is sent. `assume_up`: a server that waits for its first check gets requests at once, because no other
 * server of its pool can answer.
 */
export type SentStep = Step | { op: 'assume_up'; pool: string; slot: number };
