import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../errors/app-error.js';
import { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { Readiness } from '../signals/readiness.js';
import { HaproxyRulesReload } from './haproxy-rules-reload.service.js';
import { DownServersService } from './down-servers.service.js';
import { HaproxyRestoreService, type RestoreReport } from './haproxy-restore.service.js';

/** The suite must notice a restarted HAProxy within a second. A check costs one connection and under a millisecond. */
const INTERVAL_MS = 500;

/**
 * Watches for a HAProxy process that lacks the saved state, because HAProxy was restarted or reloaded (by the suite or
 * by anything else) or because a change failed half-way. Restores the saved state and sets the readiness.
 */
@Injectable()
export class HaproxyWatchService {
  readonly #logger = new Logger('HaproxyWatch');
  #timer: NodeJS.Timeout | undefined;
  #check: Promise<void> | undefined;
  /** The error that was logged last and still persists. */
  #loggedError = '';
  /** The pools that the last reload was for. If that reload did not create them, it is not repeated. */
  #reloadedFor = '';
  /** The pools whose options the last reload was for. */
  #reloadedForOptions = '';

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly restores: HaproxyRestoreService,
    private readonly readiness: Readiness,
    private readonly control: HaproxyControlService,
    private readonly settings: Settings,
    private readonly rules: HaproxyRulesReload,
    private readonly downServers: DownServersService,
  ) {}

  /** Checks at once and then twice a second. The suite is ready after the first check that succeeds. */
  start(): void {
    this.#timer = setInterval(() => this.checkNow(), INTERVAL_MS).unref();
    this.checkNow();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#check;
  }

  /** Checks now instead of at the next interval. */
  checkNow(): void {
    this.#check ??= this.#checkProcess()
      .catch((error: unknown) => this.#setUnready(error))
      .finally(() => {
        this.#check = undefined;
      });
  }

  /**
   * Restores the saved state into a process that is known to be new. Call it while no change is under way
   * (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async restoreNewProcess(): Promise<RestoreReport> {
    const report = await this.restores.restore();
    this.#setReady();
    return report;
  }

  async #checkProcess(): Promise<void> {
    const info = await this.runtime.info();
    const isRestored = this.restores.hasRestored(info);
    if (isRestored === false)
      this.#logger.warn(
        `HAProxy is a new process (pid ${info.pid}); the suite restores the saved state into it`,
      );
    if (isRestored === true && this.reconciler.inSync) {
      if (this.#loggedError !== '') this.#setReady();
      return;
    }
    await this.persistence.exclusively(async () => {
      await this.#reloadForMissingPools();
      await this.#reloadForOptions();
      await this.restores.repair();
      if (isRestored !== true && (await this.rules.reloadIfNeeded())) await this.restores.repair();
    });
    this.#setReady();
  }

  /**
   * A HAProxy that started before HAPROXY_POOL_COUNT was raised lacks the new pools. Before 3.4 only a reload creates
   * them. A HAProxy that the suite did not start is reloaded only for pools with servers, because an adopted HAProxy
   * may not need the others.
   */
  async #reloadForMissingPools(): Promise<void> {
    const all = this.settings.control === 'managed';
    const missing = await this.reconciler.poolsToReload(this.persistence.state, all);
    const wanted = missing.join(' ');
    if (wanted === '' || wanted === this.#reloadedFor) return;
    this.#reloadedFor = wanted;
    // A first start changes nothing that serves. A domain that needs a missing pool is refused until a reload.
    if (this.persistence.hasAdopted) {
      this.#logger.warn(
        `HAProxy lacks ${missing.length} pool(s) of ${this.settings.files.pools} (${missing[0]}, …). The first start does not ` +
          'reload HAProxy. Call {haproxy_check_config}, then {haproxy_reload}, before you add domains.',
      );
      return;
    }
    await this.#reload(
      `HAProxy lacks ${missing.length} pool(s) of ${this.settings.files.pools} (${missing[0]}, …)`,
    );
  }

  /** HAProxy started from older files, or the suite ended between a change of pool options and its reload. */
  async #reloadForOptions(): Promise<void> {
    const stale = await this.reconciler.poolsWithOtherOptions(this.persistence.state);
    const wanted = stale.join(' ');
    const isRepeated = wanted === this.#reloadedForOptions;
    this.#reloadedForOptions = wanted;
    if (wanted === '' || isRepeated) return;
    await this.#reload(`HAProxy has other options than saved for ${stale.length} pool(s) (${stale[0]}, …)`);
  }

  async #reload(reason: string): Promise<void> {
    this.#logger.warn(`${reason}; the suite reloads HAProxy`);
    try {
      await this.persistence.rewriteDerived();
      await this.downServers.record();
      const { success, log } = await this.control.reload();
      if (!success) this.#logger.error(`The reload of HAProxy failed: ${log.slice(-500)}`);
    } catch (error) {
      this.#logger.error(`The suite cannot reload HAProxy: ${messageOf(error)}`);
    }
  }

  #setReady(): void {
    this.#loggedError = '';
    this.readiness.set(true, 'HAProxy has the desired state.');
  }

  /** Logs an error once, not twice a second. */
  #setUnready(error: unknown): void {
    const message = messageOf(error);
    this.readiness.set(false, message);
    if (message === this.#loggedError) return;
    this.#loggedError = message;
    const isRejected = error instanceof AppError && error.code === 'haproxy_rejected';
    const what = isRejected
      ? 'HAProxy refuses the saved state'
      : 'HAProxy does not answer, and the suite refuses changes until it does';
    this.#logger.error(`${what}: ${message}`);
  }
}
