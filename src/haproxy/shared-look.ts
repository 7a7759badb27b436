import type { HaproxyRuntimeService } from './haproxy-runtime.service.js';
import type { ServerStatusRow } from './server-status.js';

/**
 * What HAProxy says of the servers of a pool now. All who ask in the same turn of the event loop, as the changes of one
 * commit do, share one connection.
 */
export class SharedLook {
  #pools = new Set<string>();
  #look: Promise<Map<string, ServerStatusRow[]>> | undefined;

  constructor(private readonly runtime: Pick<HaproxyRuntimeService, 'serverStatuses'>) {}

  /** @throws AppError haproxy_unavailable, haproxy_rejected */
  async statusesOf(pool: string): Promise<readonly ServerStatusRow[]> {
    this.#pools.add(pool);
    this.#look ??= Promise.resolve().then(() => this.#begin());
    return (await this.#look).get(pool) ?? [];
  }

  /** From here on whoever asks is in the next look: this one may be done before what they have changed. */
  async #begin(): Promise<Map<string, ServerStatusRow[]>> {
    const pools = [...this.#pools];
    this.#pools = new Set();
    this.#look = undefined;
    const byPool = new Map(pools.map((pool) => [pool, [] as ServerStatusRow[]]));
    for (const row of await this.runtime.serverStatuses(pools)) byPool.get(row.pool)?.push(row);
    return byPool;
  }
}
