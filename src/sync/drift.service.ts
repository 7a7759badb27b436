import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import { describeDifference, describeDifferences, type Difference } from '../reconciler/drift.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';

/** A look at 10,000 names costs HAProxy and the suite some tens of milliseconds together. */
const INTERVAL_MS = 30_000;
/** For each comparison on request, as many times its duration without one. */
const REST = 20;
/** What one log line and one health answer name; the metric counts all. */
const SHOWN = 20;

/** What the last comparison found. */
export interface DriftReport {
  checkedAt: Date;
  /** What differs now, in words; the first 20. Empty after healing. */
  differences: readonly string[];
  /** How many differ now. */
  count: number;
  /** When differences were last put right, and what they were. */
  healed?: { at: Date; count: number; differences: readonly string[] };
  /** Why HAProxy could not be compared, where it could not. */
  failure?: string;
}

/**
 * Compares HAProxy and the derived files with the desired state from time to time, and puts right or reports what
 * somebody else has changed. Restarts of HAProxy are not its business: the watch sees those at once.
 */
@Injectable()
export class DriftService {
  readonly #logger = new Logger('Drift');
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<DriftReport | undefined> | undefined;
  #report: DriftReport | undefined;
  /** What has been logged and still differs. */
  #known: ReadonlySet<string> = new Set();
  #complaint = '';
  #tookMs = 0;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly settings: Settings,
  ) {}

  /** What the last comparison found; undefined before the first. */
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
   * Compares anew, without making the caller wait, where the last report is older than that. However often somebody
   * asks, comparing takes a small part of the time.
   */
  refresh(ageMs: number): void {
    const age = Date.now() - (this.#report?.checkedAt.getTime() ?? 0);
    if (age > Math.max(ageMs, this.#tookMs * REST)) void this.check();
  }

  /**
   * Compares now, and heals if the settings say so. Never throws; undefined before the first restore, when there is
   * nothing yet to hold HAProxy to.
   */
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
      // HAProxy in doubt is restored by the watch; what differs then is nobody's drift.
      if (!this.reconciler.inStep) return this.#report;
      const started = performance.now();
      const differences = await metrics.driftCheck(this.#compare());
      this.#tookMs = performance.now() - started;
      await this.reconciler.sweep();
      this.#complaint = '';
      this.#log(differences);
      const healing = this.settings.reconcile === 'heal' && differences.some((one) => isHealed(one));
      if (!healing) return this.#remember(differences);
      await this.reconciler.restore();
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
    await this.reconciler.prepare();
    const files = await this.persistence.differingFiles();
    return [
      ...(await this.reconciler.differences()),
      ...files.map(({ path, missing }): Difference => {
        if (missing) return { kind: 'file_missing', file: path };
        return { kind: path === this.settings.files.servers ? 'state_edited' : 'file_differs', file: path };
      }),
    ];
  }

  #remember(differences: readonly Difference[], healed = this.#report?.healed): DriftReport {
    const words = differences.slice(0, SHOWN).map((difference) => describeDifference(difference));
    this.#known = new Set(differences.map((difference) => describeDifference(difference)));
    this.#report = {
      checkedAt: new Date(),
      differences: words,
      count: differences.length,
      ...(healed && { healed }),
    };
    return this.#report;
  }

  /** One line for what is new; what is known and still there has been said. */
  #log(differences: readonly Difference[]): void {
    const fresh = differences.filter((difference) => !this.#known.has(describeDifference(difference)));
    for (const { kind } of fresh) metrics.drift(kind);
    if (fresh.length === 0) return;
    const then =
      this.settings.reconcile === 'heal' ? 'It is put right.' : 'It is left as it is (RECONCILE=report).';
    this.#logger.warn(
      `Drift, ${fresh.length} difference(s) from the saved state: ${describeDifferences(fresh, SHOWN)}. ${then}`,
    );
  }

  /** HAProxy away is the watch's to tell; anything else is told once. */
  #failed(words: string): DriftReport {
    if (words !== this.#complaint) this.#logger.warn(`HAProxy could not be compared: ${words}`);
    this.#complaint = words;
    this.#report = {
      ...(this.#report ?? { differences: [], count: 0 }),
      checkedAt: new Date(),
      failure: words,
    };
    return this.#report;
  }
}

/** An edited `servers.json` is somebody's work: it is told about and not written over until the next change. */
function isHealed({ kind }: Difference): boolean {
  return kind !== 'state_edited';
}
