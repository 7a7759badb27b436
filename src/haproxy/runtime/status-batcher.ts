import type { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import type { ServerStatusRow } from './server-status.js';

type Batch = Promise<Map<string, ServerStatusRow[]>>;

/**
 * Loads the status of servers in batches: `load` calls that come together share one connection to HAProxy. A batch
 * collects calls until `schedule` resolves, by default until the end of the same turn of the event loop.
 */
export class ServerStatusBatcher {
  #pools = new Set<string>();
  #batch: Batch | undefined;

  constructor(
    private readonly runtime: Pick<HaproxyRuntimeService, 'serverStatuses'>,
    private readonly schedule: () => Promise<void> = () => Promise.resolve(),
  ) {}

  /**
   * The current status of the servers of a pool; empty if HAProxy does not have the pool.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async load(pool: string): Promise<readonly ServerStatusRow[]> {
    this.#pools.add(pool);
    this.#batch ??= this.schedule().then(() => this.#dispatch());
    return (await this.#batch).get(pool) ?? [];
  }

  /** Closes the batch, then queries HAProxy. A later call starts another batch, because it may follow a later change. */
  async #dispatch(): Batch {
    const pools = [...this.#pools];
    this.#pools = new Set();
    this.#batch = undefined;
    const byPool = new Map(pools.map((pool) => [pool, [] as ServerStatusRow[]]));
    for (const row of await this.runtime.serverStatuses(pools)) byPool.get(row.pool)?.push(row);
    return byPool;
  }
}
