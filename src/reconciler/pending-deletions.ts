import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { ApplyResult } from '../haproxy/runtime/step-runner.js';
import type { Slot } from '../haproxy/runtime/step-commands.js';
import type { Step } from '../model/routing.js';
import type { RoutingView } from './routing-view.js';
import { serverName } from '../model/names/pool-name.js';

/** Removed servers and pools that HAProxy cannot delete yet, because a server still has connections. */
export class PendingDeletions {
  /** Servers in maintenance, by name. */
  readonly #slots = new Map<string, Slot>();
  readonly #pools = new Set<string>();

  constructor(private readonly runtime: HaproxyRuntimeService) {}

  /** Removed servers that HAProxy keeps. */
  get slots(): Slot[] {
    return [...this.#slots.values()];
  }

  add({ parked, keptPools }: ApplyResult): void {
    for (const { pool, slot } of parked) this.#slots.set(serverName(pool, slot), { pool, slot });
    for (const pool of keptPools) this.#pools.add(pool);
  }

  /** Deletes the servers whose last connection has ended, unless their slot is in use again. */
  async deleteSlots(view: RoutingView | undefined): Promise<void> {
    for (const [name, { pool, slot }] of this.#slots) {
      const stillParked = view?.parked.get(pool)?.has(slot) === true;
      if (stillParked && !(await this.runtime.deleteParked(pool, slot))) continue;
      view?.forgetParked(pool, slot);
      this.#slots.delete(name);
    }
  }

  /** Returns the steps that delete the pools, and forgets the pools. A pool that HAProxy keeps again is added again. */
  takePoolSteps(view: RoutingView, isInUse: (pool: string) => boolean): Step[] {
    const unused = [...this.#pools].filter((pool) => view.backends?.has(pool) === true && !isInUse(pool));
    this.#pools.clear();
    return unused.map((pool) => ({ op: 'remove_pool', pool }));
  }
}
