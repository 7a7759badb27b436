import type { StateDelta, StateReader } from '../model/state.js';
import type { PendingEdit } from './writer-queue.js';

/** Loads `pools.cfg` into HAProxy, for changes that HAProxy cannot make at run time. */
export interface PoolsReloader {
  /**
   * Lets HAProxy check the configuration with another text of `pools.cfg`. Changes nothing.
   *
   * @throws AppError validation_failed if HAProxy refuses this text; haproxy_rejected if it refuses another file
   */
  check(poolsText: string): Promise<void>;
  /**
   * Reloads HAProxy and waits until a new worker answers. `change` is what the files have more than the saved state: its
   * servers that join a pool with a server that is UP get requests after a passed check.
   *
   * @throws AppError haproxy_rejected (the running worker serves as before), haproxy_unavailable
   */
  load(change?: StateDelta): Promise<void>;
  /** Restores the saved state into the new worker. @throws AppError haproxy_rejected, haproxy_unavailable */
  restore(): Promise<void>;
}

/** Changes that need a reload wait this long for others, so that changes within a second need one reload. */
const WINDOW_MS = 1_000;

/** Edits that wait for their common reload. */
export class ReloadWindow {
  #waiting: PendingEdit[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `release` gets the edits when the time has come. */
  constructor(private readonly release: (edits: readonly PendingEdit[]) => void) {}

  add(edits: readonly PendingEdit[]): void {
    this.#waiting.push(...edits);
    this.#timer ??= setTimeout(() => this.releaseNow(), WINDOW_MS);
  }

  releaseNow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const edits = this.#waiting;
    this.#waiting = [];
    for (const edit of edits) edit.mayReload = true;
    if (edits.length > 0) this.release(edits);
  }
}

/**
 * The part of a change that HAProxy gets at run time, before the reload brings the pools `reloaded`. A domain that moves
 * into or out of such a pool comes with the reload, and its former pool stays until then.
 */
export function beforeReload(
  delta: StateDelta,
  before: StateReader,
  reloaded: readonly string[],
): StateDelta {
  const left = new Set(reloaded);
  const domains = new Map<string, string | undefined>();
  for (const [domain, pool] of delta.domains) {
    const former = before.poolOf(domain);
    if (pool !== undefined && left.has(pool)) {
      if (former !== undefined) left.add(former);
    } else domains.set(domain, pool);
  }
  for (const domain of domains.keys()) if (left.has(before.poolOf(domain) ?? '')) domains.delete(domain);
  const pools = new Map([...delta.pools].filter(([name]) => !left.has(name)));
  return { pools, domains, ...(delta.sites && { sites: delta.sites }) };
}
