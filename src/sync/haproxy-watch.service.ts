import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../errors/app-error.js';
import { Readiness } from '../signals/readiness.js';
import { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import { PoolReload } from './pool-reload.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import type { RestoreReport } from '../reconciler/restore-report.js';

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
      .catch((error: unknown) => this.#complain(error))
      .finally(() => {
        this.#look = undefined;
      });
  }

  async #check(): Promise<void> {
    const info = await this.runtime.info();
    const known = this.reconciler.hasRestored(info);
    if (known === false)
      this.#logger.warn(`HAProxy is a new process (pid ${info.pid}); the saved state is put into it`);
    if (known === true && this.reconciler.inStep) {
      if (this.#complaint !== '') this.#ready();
      return;
    }
    await this.persistence.exclusively(async () => {
      await this.#pools.reloadIfNeeded();
      await this.reconciler.settle();
    });
    this.#ready();
  }

  /**
   * Puts the desired state into a HAProxy that is known to be a new process. Call it with no change under way
   * (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable or haproxy_rejected
   */
  async adoptProcess(): Promise<RestoreReport> {
    const report = await this.reconciler.restore();
    this.#ready();
    return report;
  }

  #ready(): void {
    this.#complaint = '';
    this.readiness.set(true, 'HAProxy has the desired state.');
  }

  /** HAProxy away is one line, not two a second. */
  #complain(error: unknown): void {
    const words = messageOf(error);
    this.readiness.set(false, words);
    if (words === this.#complaint) return;
    this.#complaint = words;
    const rejected = error instanceof AppError && error.code === 'haproxy_rejected';
    const what = rejected
      ? 'HAProxy refuses the saved state'
      : 'HAProxy is out of reach, changes are refused until it answers';
    this.#logger.error(`${what}: ${words}`);
  }
}
