import { serverName, type Step } from '../model/routing.js';
import type { ApplyResult, HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { Slot } from '../haproxy/runtime/step-commands.js';
import type { RoutingView } from './routing-view.js';

/** What was removed while connections to it lasted: HAProxy keeps it, out of service, until it is deleted. */
export class Leftovers {
  /** In maintenance. */
  readonly #slots = new Map<string, Slot>();
  readonly #pools = new Set<string>();

  constructor(private readonly runtime: HaproxyRuntimeService) {}

  note({ parked, keptPools }: ApplyResult): void {
    for (const { pool, slot } of parked) this.#slots.set(serverName(pool, slot), { pool, slot });
    for (const pool of keptPools) this.#pools.add(pool);
  }

  /** Deletes the slots whose last connection has ended meanwhile, and that nobody has taken again. */
  async deleteSlots(view: RoutingView | undefined): Promise<void> {
    for (const [name, { pool, slot }] of this.#slots) {
      const stillParked = view?.parked.get(pool)?.has(slot) === true;
      if (stillParked && !(await this.runtime.deleteParked(pool, slot))) continue;
      view?.forgetParked(pool, slot);
      this.#slots.delete(name);
    }
  }

  /** The steps that try once more to delete the pools. Those that stay again are to be noted again. */
  takePools(view: RoutingView, isWanted: (pool: string) => boolean): Step[] {
    const unused = [...this.#pools].filter((pool) => view.backends?.has(pool) === true && !isWanted(pool));
    this.#pools.clear();
    return unused.map((pool) => ({ op: 'remove_pool', pool }));
  }
}
