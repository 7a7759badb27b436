import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../common/errors.js';
import { Readiness } from '../common/readiness.js';
import { HaproxyControlService } from '../haproxy/haproxy-control.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import { PoolReload } from './pool-reload.js';
import { ReconcilerService, type RestoreReport } from './reconciler.service.js';

/** A restarted HAProxy is to be noticed within a second. One look costs one connection and under a millisecond. */
const INTERVAL_MS = 500;

/**
 * Notices that HAProxy is another process than before (restarted or reloaded, by anyone), or that the last change
 * left it in doubt, and has the desired state restored.
 */
@Injectable()
export class HaproxyWatchService {
  readonly #logger = new Logger('HaproxyWatch');
  #timer: NodeJS.Timeout | undefined;
  #look: Promise<void> | undefined;
  #pid: number | undefined;
  #complaint = '';
  readonly #pools: PoolReload;

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly readiness: Readiness,
    control: HaproxyControlService,
    settings: Settings,
  ) {
    this.#pools = new PoolReload(reconciler, control, settings);
  }

  /** The first look is made at once; `ready` follows its success. */
  start(): void {
    this.#timer = setInterval(() => this.lookNow(), INTERVAL_MS).unref();
    this.lookNow();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#look;
  }

  /** For those who know that something happened. */
  lookNow(): void {
    this.#look ??= this.#check()
      .catch((error: unknown) => this.#complain(messageOf(error)))
      .finally(() => {
        this.#look = undefined;
      });
  }

  async #check(): Promise<void> {
    const { pid } = await this.runtime.info();
    if (pid === this.#pid && this.reconciler.inStep) return;
    if (this.#pid !== undefined && pid !== this.#pid)
      this.#logger.warn(
        `HAProxy is a new process (pid ${pid}, before ${this.#pid}); the saved state is put into it`,
      );
    await this.persistence.exclusively(async () => {
      await this.adoptProcess((await this.#pools.reloadIfNeeded()) ? (await this.runtime.info()).pid : pid);
    });
  }

  /**
   * Puts the desired state into a HAProxy that is known to be a new process. Call it with no change under way
   * (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable or haproxy_rejected
   */
  async adoptProcess(pid: number): Promise<RestoreReport> {
    const report = await this.reconciler.restore();
    this.#pid = pid;
    this.#complaint = '';
    this.readiness.set(true, 'HAProxy has the desired state.');
    return report;
  }

  /** HAProxy away is one line, not two a second. */
  #complain(words: string): void {
    this.reconciler.forget();
    this.readiness.set(false, words);
    if (words === this.#complaint) return;
    this.#complaint = words;
    this.#logger.error(`HAProxy is out of reach, changes are refused until it answers: ${words}`);
  }
}
