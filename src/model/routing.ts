/**
 * The part of HAProxy that the suite drives: which name goes to which pool, and which servers a pool has.
 * The desired state and what a running HAProxy has are both of this shape, so that one `plan` compares any two.
 */

export const SERVER_STATES = ['ready', 'drain', 'maint'] as const;
export type ServerState = (typeof SERVER_STATES)[number];

export const DEFAULT_WEIGHT = 1;
export const DEFAULT_HTTP_PORT = 80;

export interface ServerSpec {
  /** Canonical IPv4 or IPv6 address. */
  ip: string;
  /** 1–65535. */
  http_port: number;
  /** 0–256. */
  weight: number;
  state: ServerState;
}

/** Slot number (1…) → server. */
export type PoolServers = ReadonlyMap<number, ServerSpec>;

export interface Routing {
  /** Map key (`example.com`, or `.example.com` for `*.example.com`) → pool name. */
  readonly domains: ReadonlyMap<string, string>;
  /** Pool name (`pool_5`) → servers. A pool with no servers may be absent. */
  readonly pools: ReadonlyMap<string, PoolServers>;
}

/** One step of a plan, applied by HaproxyRuntimeService; each becomes one or a few Runtime API commands. */
export type Step =
  /** A pool that HAProxy does not have; 3.4 and newer can make one while it runs. */
  | { op: 'add_pool'; pool: string }
  /** The slot exists in HAProxy or not; `exists` says which, so that it is re-addressed or made. */
  | { op: 'put_server'; pool: string; slot: number; server: ServerSpec; exists: boolean }
  | { op: 'set_weight'; pool: string; slot: number; weight: number }
  | { op: 'set_state'; pool: string; slot: number; state: ServerState }
  /** Maintenance, then deletion once idle; while connections last it stays parked in maintenance. */
  | { op: 'remove_server'; pool: string; slot: number }
  /** Names that HAProxy does not have, and the pool of each. One step in two lists: a restore may have 100,000. */
  | { op: 'add_domains'; keys: readonly string[]; pools: readonly string[] }
  | { op: 'set_domain'; key: string; pool: string }
  | { op: 'del_domain'; key: string }
  /** Deleted once it has no server; while one is parked in it, it stays and can be taken again. */
  | { op: 'remove_pool'; pool: string };

/** `pool_5`, 3 → `pool_5_3`. */
export function serverName(pool: string, slot: number): string {
  return `${pool}_${slot}`;
}

/** `example.com` → itself; `*.example.com` → `.example.com`, as `domains.map` holds it. */
export function mapKeyOf(domain: string): string {
  return domain.startsWith('*.') ? domain.slice(1) : domain;
}

export function domainOfMapKey(key: string): string {
  return key.startsWith('.') ? `*${key}` : key;
}
