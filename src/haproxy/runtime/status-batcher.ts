import type { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import type { ServerStatusRow } from './server-status.js';

/**
 * What HAProxy says of the servers of a pool now. All who ask within a moment, which is the same turn of the event loop
 * unless it is said to be longer, share one connection: changes of one commit do, and those who wait for a drain.
 */
export class ServerStatusBatcher {
  #pools = new Set<string>();
  #look: Promise<Map<string, ServerStatusRow[]>> | undefined;

  constructor(
    private readonly runtime: Pick<HaproxyRuntimeService, 'serverStatuses'>,
    private readonly moment: () => Promise<void> = () => Promise.resolve(),
  ) {}

  /** @throws AppError haproxy_unavailable, haproxy_rejected */
  async statusesOf(pool: string): Promise<readonly ServerStatusRow[]> {
    this.#pools.add(pool);
    this.#look ??= this.moment().then(() => this.#begin());
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
