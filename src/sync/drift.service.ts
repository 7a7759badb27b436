import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { describeDifference, describeDifferences, type Difference } from '../reconciler/drift.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { HaproxyRestoreService } from './haproxy-restore.service.js';

/** Comparing 10,000 names costs HAProxy and the suite some tens of milliseconds together. */
const INTERVAL_MS = 30_000;
/** A comparison on request waits this many times the duration of the last comparison. */
const PAUSE_FACTOR = 20;
/** How many differences one log line and one health answer name; the metric counts all. */
const SHOWN = 20;

/** The result of the last comparison. */
export interface DriftReport {
  checkedAt: Date;
  /** The first 20 current differences, as sentences. Empty after a repair. */
  differences: readonly string[];
  /** How many differences there are now. */
  count: number;
  /** The last repair: when, and which differences it repaired. */
  healed?: { at: Date; count: number; differences: readonly string[] };
  /** Why HAProxy could not be compared. */
  failure?: string;
}

/**
 * Compares HAProxy and the derived files with the saved state at intervals, and repairs or reports what another
 * program changed (RECONCILE). Restarts of HAProxy are the task of HaproxyWatchService.
 */
@Injectable()
export class DriftService {
  readonly #logger = new Logger('Drift');
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<DriftReport | undefined> | undefined;
  #report: DriftReport | undefined;
  /** Differences that were logged and are not repaired. */
  #known: ReadonlySet<string> = new Set();
  /** The error that was logged last and still persists. */
  #loggedError = '';
  #durationMs = 0;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly restores: HaproxyRestoreService,
    private readonly settings: Settings,
  ) {}

  /** The result of the last comparison; undefined before the first. */
  get report(): DriftReport | undefined {
    return this.#report;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.check(), INTERVAL_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  /**
   * Starts a comparison in the background if the last report is older than `ageMs`. However often it is called,
   * comparisons take at most a twentieth of the time.
   */
  refresh(ageMs: number): void {
    const age = Date.now() - (this.#report?.checkedAt.getTime() ?? 0);
    if (age > Math.max(ageMs, this.#durationMs * PAUSE_FACTOR)) void this.check();
  }

  /** Compares now, and repairs if RECONCILE=heal. Never throws. Undefined before the first restore. */
  check(): Promise<DriftReport | undefined> {
    this.#running ??= this.#check()
      .catch((error: unknown) => this.#failed(messageOf(error)))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #check(): Promise<DriftReport | undefined> {
    return this.persistence.exclusively(async () => {
      // HaproxyWatchService repairs a HAProxy that is not in sync; what differs until then is not drift.
      if (!this.reconciler.inSync) return this.#report;
      const started = performance.now();
      const differences = await metrics.driftCheck(this.#compare());
      this.#durationMs = performance.now() - started;
      await this.reconciler.deletePending(this.persistence.state);
      this.#loggedError = '';
      this.#log(differences);
      const heals = this.settings.reconcile === 'heal' && differences.some((one) => isHealed(one));
      if (!heals) return this.#remember(differences);
      await this.restores.restore();
      await this.persistence.rewriteDerived();
      const left = differences.filter((difference) => !isHealed(difference));
      const healed = differences.filter((difference) => isHealed(difference));
      return this.#remember(left, {
        at: new Date(),
        count: healed.length,
        differences: healed.slice(0, SHOWN).map((difference) => describeDifference(difference)),
      });
    });
  }

  async #compare(): Promise<Difference[]> {
    const files = await this.persistence.recheckFiles();
    return [
      ...(await this.restores.differences()),
      ...files.map(({ path, missing }): Difference => {
        if (missing) return { kind: 'file_missing', file: path };
        return { kind: path === this.settings.files.servers ? 'state_edited' : 'file_differs', file: path };
      }),
    ];
  }

  #remember(differences: readonly Difference[], healed = this.#report?.healed): DriftReport {
    const sentences = differences.slice(0, SHOWN).map((difference) => describeDifference(difference));
    this.#known = new Set(differences.map((difference) => describeDifference(difference)));
    this.#report = {
      checkedAt: new Date(),
      differences: sentences,
      count: differences.length,
      ...(healed && { healed }),
    };
    return this.#report;
  }

  /** Logs new differences in one line, and each difference once. */
  #log(differences: readonly Difference[]): void {
    const fresh = differences.filter((difference) => !this.#known.has(describeDifference(difference)));
    for (const { kind } of fresh) metrics.drift(kind);
    if (fresh.length === 0) return;
    const action =
      this.settings.reconcile === 'report'
        ? 'The suite leaves it as it is (RECONCILE=report).'
        : fresh.some((one) => isHealed(one))
          ? 'The suite repairs it.'
          : 'The suite does not change it.';
    this.#logger.warn(
      `Drift, ${fresh.length} difference(s) from the saved state: ${describeDifferences(fresh, SHOWN)}. ${action}`,
    );
  }

  /** Logs an error once. HaproxyWatchService logs an unreachable HAProxy. */
  #failed(message: string): DriftReport {
    if (message !== this.#loggedError)
      this.#logger.warn(`The suite cannot compare HAProxy with the saved state: ${message}`);
    this.#loggedError = message;
    this.#report = {
      ...(this.#report ?? { differences: [], count: 0 }),
      checkedAt: new Date(),
      failure: message,
    };
    return this.#report;
  }
}

/**
 * A `servers.json` that an operator edited is reported, and kept until the next change. Settings of haproxy.cfg change
 * with a reload, which the operator decides.
 */
function isHealed({ kind }: Difference): boolean {
  return !['state_edited', 'pool_setting', 'server_setting', 'pool_options'].includes(kind);
}
