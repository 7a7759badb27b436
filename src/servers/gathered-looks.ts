import { setTimeout as pause } from 'node:timers/promises';
import type { ServerStatusRow } from '../haproxy/server-status.js';

type Look = (pools: readonly string[]) => Promise<ServerStatusRow[]>;

/** Short enough that nobody notices, and long enough that any number of callers makes 50 looks a second at most. */
const GATHER_MS = 20;

/** Looks at the servers of pools, one for all who ask within a moment. It begins after they have asked. */
export class GatheredLooks {
  #next: { pools: Set<string>; rows: Promise<ServerStatusRow[]> } | undefined;

  constructor(private readonly look: Look) {}

  async at(pool: string): Promise<ServerStatusRow[]> {
    this.#next ??= this.#gather();
    this.#next.pools.add(pool);
    return (await this.#next.rows).filter((row) => row.pool === pool);
  }

  #gather(): { pools: Set<string>; rows: Promise<ServerStatusRow[]> } {
    const pools = new Set<string>();
    const rows = pause(GATHER_MS).then(() => {
      this.#next = undefined;
      return this.look([...pools]);
    });
    return { pools, rows };
  }
}
