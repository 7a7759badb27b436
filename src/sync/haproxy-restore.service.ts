import { Injectable, Logger } from '@nestjs/common';
import { CertificateLoader } from '../haproxy/certificates/certificate-loader.service.js';
import { isSameProcess, type ProcessIdentity } from '../haproxy/runtime/process-identity.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { metrics } from '../lib/metrics.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { Difference } from '../reconciler/drift.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import type { RoutingView } from '../reconciler/routing-view.js';
import { Settings } from '../settings/settings.js';

/** What a restore changed in HAProxy. */
export interface RestoreReport {
  /** Names added, moved to another pool, or removed. */
  domains: number;
  /** Servers created, changed or removed. */
  servers: number;
  /** Certificates loaded that HAProxy did not have. */
  certificates: number;
  duration_ms: number;
}

/**
 * Puts the saved state into HAProxy: domains, pools, servers and certificates. Call each method while no change is
 * under way (`PersistenceService.exclusively`).
 */
@Injectable()
export class HaproxyRestoreService {
  readonly #logger = new Logger('Restore');
  /** The process that the last restore was into. */
  #restored: ProcessIdentity | undefined;
  /** The findings about servers that were logged last. */
  #warned = '';

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly certificates: CertificateLoader,
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
    private readonly guard: ServerGuard,
  ) {}

  /** Whether the last restore was into this process. Undefined before the first restore. */
  hasRestored(process: ProcessIdentity): boolean | undefined {
    return this.#restored && isSameProcess(this.#restored, process);
  }

  /**
   * Makes HAProxy equal to the whole saved state.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  restore(): Promise<RestoreReport> {
    return metrics.reconcile(this.#restore());
  }

  /**
   * Call it after HAProxy was unreachable or a change failed half-way. Restores everything if the process is new or with
   * RECONCILE=heal; otherwise repairs only what the failed changes touched.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async repair(): Promise<void> {
    const { state } = this.persistence;
    const view = await this.reconciler.read(state);
    if (this.settings.reconcile === 'heal' || !this.#isRestored(view))
      await metrics.reconcile(this.#restore(view));
    else await this.reconciler.repairUncertain(state, view);
  }

  /**
   * What HAProxy has that differs from the saved state. Empty for a process that has not been restored yet: the watch
   * restores that process, and what it lacks until then is not drift.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async differences(): Promise<Difference[]> {
    const { state } = this.persistence;
    const view = await this.reconciler.read(state);
    if (this.#isRestored(view)) {
      const differences = this.reconciler.differences(state, view);
      return [...differences, ...(await this.reconciler.settingDifferences(state))];
    }
    this.reconciler.forget();
    return [];
  }

  async #restore(fresh?: RoutingView): Promise<RestoreReport> {
    const started = performance.now();
    const { state } = this.persistence;
    this.reconciler.forget();
    await this.#checkServers();
    const view = fresh ?? (await this.reconciler.read(state));
    const { domains, servers } = await this.reconciler.restore(state, view);
    const certificates = await this.#restoreCertificates();
    this.#restored = view.process;
    const duration_ms = Math.round(performance.now() - started);
    this.#logger.log(
      `HAProxy has revision ${state.revision}: restored ${domains} names, ${servers} servers and ${certificates} certificates in ${duration_ms} ms`,
    );
    return { domains, servers, certificates, duration_ms };
  }

  /** A new process can have other ports, so a saved server can be one of them now. Logs each finding once. */
  async #checkServers(): Promise<void> {
    // If HAProxy does not tell, its files still do. If it does not answer, the next read throws.
    await this.guard.refresh(await this.runtime.listeners().catch(() => undefined));
    const found = this.guard.findings(this.persistence.state).join('. ');
    if (found !== '' && found !== this.#warned)
      this.#logger.warn(
        `Servers that no change could add: ${found}. Remove or move them; {haproxy_health} lists them.`,
      );
    this.#warned = found;
  }

  /** If it fails, HAProxy counts as out of sync, so that HaproxyWatchService restores it again. */
  async #restoreCertificates(): Promise<number> {
    try {
      return await this.certificates.restore();
    } catch (error) {
      this.reconciler.forget();
      throw error;
    }
  }

  #isRestored({ process }: RoutingView): boolean {
    return process !== undefined && this.hasRestored(process) === true;
  }
}
