import { isWildcard, wildcardOf } from '../model/names/domain-name.js';
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
 * into or out of such a pool comes with the reload, and its former pool stays until then. The options of the domains of
 * these pools come with the reload too: otherwise a domain could lose its protection while it has its former servers. An
 * exact name inherits options from its wildcard, so both come at the same time.
 */
export function beforeReload(
  delta: StateDelta,
  before: StateReader,
  reloaded: readonly string[],
): StateDelta {
  const wildcardAt = (domain: string): string | undefined => {
    const wildcard = isWildcard(domain) ? domain : wildcardOf(domain);
    if (wildcard === undefined) return undefined;
    return (before.poolOf(wildcard) ?? delta.domains.get(wildcard)) === undefined ? undefined : wildcard;
  };
  // The changed domains of each pool, former or new, and of each wildcard.
  const changedOf = new Map<string, string[]>();
  for (const [domain, pool] of delta.domains)
    for (const group of new Set([before.poolOf(domain), pool, wildcardAt(domain)])) {
      if (group === undefined) continue;
      const changed = changedOf.get(group);
      if (changed) changed.push(domain);
      else changedOf.set(group, [domain]);
    }
  // The pools and wildcards that come with the reload. The loop reaches what it adds.
  const late = new Set(reloaded);
  const addWildcard = (domain: string) => {
    const wildcard = wildcardAt(domain);
    if (wildcard !== undefined) late.add(wildcard);
  };
  for (const group of late) {
    for (const domain of before.pool(group)?.domains ?? []) addWildcard(domain);
    for (const domain of changedOf.get(group) ?? []) {
      addWildcard(domain);
      const former = before.poolOf(domain);
      if (former !== undefined) late.add(former);
    }
  }
  const isLate = (domain: string): boolean =>
    [before.poolOf(domain), delta.domains.get(domain), wildcardAt(domain)].some(
      (group) => group !== undefined && late.has(group),
    );
  const pools = new Map([...delta.pools].filter(([name]) => !late.has(name)));
  const domains = new Map([...delta.domains].filter(([domain]) => !isLate(domain)));
  const sites = delta.sites && new Map([...delta.sites].filter(([host]) => !isLate(host)));
  return { pools, domains, ...(sites && { sites }) };
}
