import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import type { PoolServers, Routing, Step } from '../model/routing.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { isSameProcess, type ProcessIdentity } from '../haproxy/runtime/process-identity.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { RoutingTarget } from '../persistence/routing-target.js';
import type { SectionedText } from '../storage/files/section-file.js';
import { inverse } from '../model/state-delta.js';
import type { Pool, State, StateDelta } from '../model/state.js';
import { Settings } from '../settings/settings.js';
import { FirstStart } from './adoption/adoption.js';
import { Debt } from './debt.js';
import { compareRouting, type Difference } from './drift.js';
import type { PoolLimit } from './pools/pool-limits.js';
import { Leftovers } from './leftovers.js';
import { PoolPolicy } from './pools/pool-policy.js';
import { countTouched, type RestoreReport } from './restore-report.js';
import { RoutingView } from './routing-view.js';

/**
 * Keeps HAProxy equal to the desired state. It holds a view of what HAProxy has, so that a change costs no look;
 * whenever that view may be wrong it is dropped, and the next step begins with a look.
 */
@Injectable()
export class ReconcilerService implements RoutingTarget {
  readonly #logger = new Logger('Reconciler');
  #view: RoutingView | undefined;
  /** The process that the view is of. */
  #process: ProcessIdentity | undefined;
  /** The process that last had the whole desired state. */
  #restored: ProcessIdentity | undefined;
  readonly #debt = new Debt();
  #restoreCertificates: () => Promise<number> = async () => 0;
  #unservedCertificates: () => Promise<string[]> = async () => [];
  readonly #first: FirstStart;
  readonly #pools: PoolPolicy;
  readonly #leftovers: Leftovers;

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly settings: Settings,
  ) {
    this.#first = new FirstStart(runtime, settings);
    this.#pools = new PoolPolicy(settings, this.#first);
    this.#leftovers = new Leftovers(runtime);
    persistence.bindTarget(this);
  }

  /** Certificates are put back with the routing; their keeper says how and how many they were, and which it would be. */
  bindCertificates(restore: () => Promise<number>, unserved: () => Promise<string[]>): void {
    this.#restoreCertificates = restore;
    this.#unservedCertificates = unserved;
  }

  /** Whether HAProxy is known to have the desired state; false asks for a restore. */
  get inStep(): boolean {
    return this.#view !== undefined && this.#debt.isPaid;
  }

  /** Whether it was this process that last had the whole desired state. Undefined before the first restore. */
  hasRestored(process: ProcessIdentity): boolean | undefined {
    return this.#restored && isSameProcess(this.#restored, process);
  }

  /** How many pools there can be: as many as are declared, or with HAProxy 3.4 as many as anyone needs. */
  get poolLimit(): PoolLimit {
    return this.#pools.limit;
  }

  /**
   * Pools that HAProxy can get only by reading its files again: those whose servers it should have, and with `all`
   * those that pools.cfg declares besides. Empty where it can make them itself.
   */
  async poolsToReload(all: boolean): Promise<string[]> {
    if ((await this.runtime.capabilities()).dynamicBackends) return [];
    return this.#pools.missing(this.persistence.state.pools, await this.runtime.poolNames(), all);
  }

  /** HAProxy may have become another process or been changed by someone: look before the next step. */
  forget(): void {
    this.#view = undefined;
  }

  renderPools(pools: readonly (readonly [string, Pool])[]): SectionedText {
    return this.#pools.render(pools);
  }

  renderPool(name: string, servers: PoolServers | undefined): string {
    return this.#pools.renderPool(name, servers);
  }

  prepare(): Promise<void> {
    return this.#pools.prepare();
  }

  /** @throws AppError haproxy_unavailable or haproxy_rejected while it cannot be known what HAProxy has */
  adopt(mapText = ''): Promise<State> {
    return this.#first.take(mapText);
  }

  apply(change: StateDelta, before: State): Promise<void> {
    return metrics.apply(this.#apply(change, before));
  }

  async preview(change: StateDelta, before: State): Promise<Step[]> {
    const view = this.#view ?? (await this.#look(before.routing()));
    return this.#pools.planChange(view.sidesOf(change), view);
  }

  async #apply(change: StateDelta, before: State): Promise<void> {
    try {
      await this.#advanceTo(change, before, this.#view ?? (await this.#look(before.routing())));
    } catch (error) {
      this.forget();
      if (!(error instanceof AppError) || error.code !== 'haproxy_rejected') {
        this.#debt.owe(change);
        throw error;
      }
      await this.#applyAfterLook(change, before);
    }
  }

  /** What went to a HAProxy that was replaced meanwhile is done again on the one that serves now. */
  async #advanceTo(change: StateDelta, before: State, known: RoutingView): Promise<void> {
    let view = known;
    for (let attempt = 1; ; attempt += 1) {
      if (await this.#advance(change, view)) return;
      if (attempt === ATTEMPTS)
        throw new AppError(
          'haproxy_unavailable',
          'HAProxy is being replaced again and again while it is changed; see its log, then repeat the request.',
        );
      view = await this.#look(before.routing());
    }
  }

  /**
   * Puts the whole desired state into HAProxy, whatever it has now. Call it with no change under way
   * (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable or haproxy_rejected
   */
  restore(): Promise<RestoreReport> {
    return metrics.reconcile(this.#restore());
  }

  /** What `restore` would do, without certificates; nothing is done. @throws as `restore` */
  async previewRestore(): Promise<Step[]> {
    const desired = this.persistence.state.routing();
    return this.#pools.planRestore(await this.#look(desired), desired);
  }

  /** Certificates that `restore` would load, by path. */
  unservedCertificates(): Promise<string[]> {
    return this.#unservedCertificates();
  }

  /**
   * What HAProxy has that is not as desired, from a fresh look. Call it with no change under way
   * (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable or haproxy_rejected
   */
  async differences(): Promise<Difference[]> {
    const desired = this.persistence.state.routing();
    const view = await this.#look(desired);
    // A new process is restored by the watch; what it lacks until then is nobody's drift.
    if (this.#process && !this.hasRestored(this.#process)) {
      this.forget();
      return [];
    }
    this.#view = view;
    return compareRouting(view.routing, desired);
  }

  /**
   * After HAProxy was out of reach or a change failed half-way: the whole desired state for a new process, or where
   * drift is healed; otherwise (RECONCILE=report) only what the failed changes touched. Call it with no change under
   * way (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable or haproxy_rejected
   */
  async settle(): Promise<void> {
    const { state } = this.persistence;
    const view = await this.#look(state.routing());
    const known = this.#process && this.hasRestored(this.#process) === true;
    if (this.settings.reconcile === 'heal' || !known) {
      await metrics.reconcile(this.#restore(view));
      return;
    }
    if (await this.#advance(this.#debt.asChange(state), view)) this.#debt.pay();
  }

  /**
   * Deletes removed servers whose last connection has ended meanwhile. Slots that an operator's configuration has
   * standing by are not touched. Call it with no change under way (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable
   */
  async sweep(): Promise<void> {
    const view = this.#view;
    await this.#leftovers.deleteSlots(view);
    if (!view) return;
    const { state } = this.persistence;
    await this.#take(
      this.#leftovers.takePools(view, (pool) => state.pool(pool) !== undefined),
      view,
    );
  }

  /** From a fresh look, where the caller has just had one. */
  async #restore(fresh?: RoutingView): Promise<RestoreReport> {
    const started = performance.now();
    const { state } = this.persistence;
    this.forget();
    const desired = state.routing();
    const view = fresh ?? (await this.#look(desired));
    const steps = this.#pools.planRestore(view, desired);
    if (!(await this.#take(steps, view)))
      throw new AppError(
        'haproxy_unavailable',
        'HAProxy was replaced while the saved state was put into it.',
      );
    const certificates = await this.#restoreCertificates();
    this.#restored = view.process;
    this.#debt.pay();
    const report = {
      ...countTouched(steps),
      certificates,
      duration_ms: Math.round(performance.now() - started),
    };
    this.#logger.log(
      `HAProxy has revision ${state.revision}: ${report.domains} names, ${report.servers} servers and ${report.certificates} certificates put right in ${report.duration_ms} ms`,
    );
    return report;
  }

  /** HAProxy refused: someone else may have changed it. Look, try once more, and if that fails put it back. */
  async #applyAfterLook(change: StateDelta, before: State): Promise<void> {
    try {
      await this.#advanceTo(change, before, await this.#look(before.routing()));
    } catch (error) {
      this.forget();
      await this.#revert(change, before).catch((failure: unknown) => {
        this.forget();
        this.#debt.owe(change);
        this.#logger.error(`HAProxy was not put back after a refused change: ${messageOf(failure)}`);
      });
      throw error;
    }
  }

  #advance(change: StateDelta, view: RoutingView): Promise<boolean> {
    return this.#take(this.#pools.planChange(view.sidesOf(change), view), view);
  }

  async #revert(change: StateDelta, before: State): Promise<void> {
    await this.#advanceTo(inverse(change, before), before, await this.#look(before.routing()));
  }

  /** False where the steps went, in whole or in part, to another process than the view is of. */
  async #take(steps: readonly Step[], view: RoutingView): Promise<boolean> {
    if (steps.length > 0 && !(await this.#send(steps, view))) {
      this.forget();
      return false;
    }
    this.#view = view;
    return true;
  }

  async #send(steps: readonly Step[], view: RoutingView): Promise<boolean> {
    const { sent, kept } = this.#pools.keepDeclared(steps);
    try {
      const applied = await this.runtime.apply(sent);
      const { process } = view;
      if (!process || !applied.processes.every((other) => isSameProcess(process, other))) return false;
      view.note({ steps, keptPools: applied.keptPools, parked: [...applied.parked, ...kept] });
      this.#leftovers.note(applied);
      return true;
    } catch (error) {
      this.forget();
      throw error;
    }
  }

  async #look(desired: Routing): Promise<RoutingView> {
    const live = await this.runtime.readRouting();
    this.#pools.learn(live.capabilities);
    this.#process = live.process;
    return new RoutingView(live, desired, this.#first.leftPools, live.process);
  }
}

/** How often a change follows a HAProxy that is replaced while it is made. */
const ATTEMPTS = 3;
