import type { HaproxyInfo } from '../parsers/info.parser.js';
import { STAT } from '../parsers/stat.parser.js';
import { type ServerStatusRow, statusRows } from '../runtime/server-status.js';
import type { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import type { HaproxyWorkers } from './haproxy-workers.service.js';
import type { OldWorkers, OldWorkerState } from './old-worker.js';

/** What all workers have of the servers that a caller waits for. */
export interface DrainView {
  current: HaproxyInfo;
  /** The servers of the pools in the current worker. */
  rows: readonly ServerStatusRow[];
  list: OldWorkers;
  /** The old workers with the rows of every backend in which one of the addresses is. */
  old: readonly OldWorkerState[];
}

interface Wanted {
  pools: Set<string>;
  addresses: Set<string>;
}

/**
 * Reads what all workers have of some servers. Calls that come together share one reading: a batch collects calls until
 * `schedule` resolves.
 */
export class DrainWatch {
  #wanted: Wanted = { pools: new Set(), addresses: new Set() };
  #batch: Promise<DrainView> | undefined;

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly workers: HaproxyWorkers,
    private readonly schedule: () => Promise<void> = () => Promise.resolve(),
  ) {}

  /** @throws AppError haproxy_unavailable, haproxy_rejected */
  load(pool: string, addresses: readonly string[]): Promise<DrainView> {
    this.#wanted.pools.add(pool);
    for (const address of addresses) this.#wanted.addresses.add(address);
    this.#batch ??= this.schedule().then(() => this.#dispatch());
    return this.#batch;
  }

  /** Closes the batch, then reads. A later call starts another batch, because it may follow a later change. */
  #dispatch(): Promise<DrainView> {
    const wanted = this.#wanted;
    this.#wanted = { pools: new Set(), addresses: new Set() };
    this.#batch = undefined;
    return this.#read(wanted);
  }

  /**
   * Reads the current worker before the list of workers: if the list still has it as the current worker, the reading
   * was of the current worker, and the list has every worker that had been replaced by then.
   */
  async #read({ pools, addresses }: Wanted): Promise<DrainView> {
    const { info, rows } = await this.runtime.statsOfProcess([...pools], STAT.servers);
    const list = await this.workers.list(info);
    const view = { current: info, rows: statusRows(rows), list, old: [] };
    if (!list.known || list.workers.length === 0) return view;
    const old = await this.workers.inspect(list.workers, [...pools]);
    // An old worker can have the server in another pool, if the domain has been removed and added again since then.
    const others = new Set(
      old
        .flatMap(({ servers }) => [...addresses].flatMap((address) => servers.get(address) ?? []))
        .map(({ backend }) => backend)
        .filter((backend) => !pools.has(backend)),
    );
    if (others.size === 0) return { ...view, old };
    return { ...view, old: await this.workers.inspect(list.workers, [...pools, ...others]) };
  }
}
