import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../common/errors.js';
import { metrics } from '../common/metrics.js';
import { serverName, type Routing, type Step } from '../common/routing.js';
import { configServers } from '../haproxy/config-servers.js';
import { declaredPools } from '../haproxy/declared-pools.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { renderPool } from '../haproxy/pools-cfg.js';
import { isSameProcess, type ProcessIdentity } from '../haproxy/process-identity.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { RoutingTarget } from '../persistence/routing-target.js';
import { inverse } from '../persistence/state-changes.js';
import { poolNumber, type Pool, type State, type StateChange } from '../persistence/state.js';
import { Settings } from '../settings/settings.js';
import { FirstStart } from './adoption.js';
import { textOf } from './adoption-sources.js';
import { compareRouting, type Difference } from './drift.js';
import { plan } from './plan.js';
import { MOST_POOLS, type PoolLimit, poolsToDeclare, refuseNewPools } from './pool-limits.js';
import { RoutingView, type Sides } from './routing-view.js';

/** What a restore found different and put right. */
export interface RestoreReport {
  /** Names added, re-pointed or removed. */
  domains: number;
  /** Servers made, changed or removed. */
  servers: number;
  /** Certificates loaded that HAProxy did not have. */
  certificates: number;
  duration_ms: number;
}

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
  /** What changes touched that failed half-way: HAProxy may have a part of them still. */
  readonly #owed = { pools: new Set<string>(), domains: new Set<string>() };
  /** Removed servers whose connections lasted; HAProxy keeps them in maintenance until they are deleted. */
  readonly #busy = new Map<string, { pool: string; slot: number }>();
  /** Freed pools that HAProxy could not delete then, for the same reason. */
  readonly #keptPools = new Set<string>();
  #restoreCertificates: () => Promise<number> = async () => 0;
  #unservedCertificates: () => Promise<string[]> = async () => [];
  /** Pools that haproxy.cfg declares itself, so that pools.cfg must not. */
  #declared: ReadonlySet<string> = new Set();
  /** Slots that it declares: made anew after a deletion they would lack the options they have there. */
  #declaredServers: ReadonlySet<string> = new Set();
  /** Whether HAProxy makes pools at run time; as it was when it was last looked at. */
  #dynamic = false;
  readonly #first: FirstStart;

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly settings: Settings,
  ) {
    this.#first = new FirstStart(runtime, settings);
    persistence.bindTarget(this);
  }

  /** Certificates are put back with the routing; their keeper says how and how many they were, and which it would be. */
  bindCertificates(restore: () => Promise<number>, unserved: () => Promise<string[]>): void {
    this.#restoreCertificates = restore;
    this.#unservedCertificates = unserved;
  }

  /** Whether HAProxy is known to have the desired state; false asks for a restore. */
  get inStep(): boolean {
    return this.#view !== undefined && this.#owed.pools.size + this.#owed.domains.size === 0;
  }

  /** Whether it was this process that last had the whole desired state. Undefined before the first restore. */
  hasRestored(process: ProcessIdentity): boolean | undefined {
    return this.#restored && isSameProcess(this.#restored, process);
  }

  /** How many pools there can be: as many as are declared, or with HAProxy 3.4 as many as anyone needs. */
  get poolLimit(): PoolLimit {
    return { count: this.#dynamic ? MOST_POOLS : this.settings.poolCount, dynamic: this.#dynamic };
  }

  /**
   * Pools that HAProxy can get only by reading its files again: those whose servers it should have, and with `all`
   * those that pools.cfg declares besides. Empty where it can make them itself.
   */
  async poolsToReload(all: boolean): Promise<string[]> {
    if ((await this.runtime.capabilities()).dynamicBackends) return [];
    const present = await this.runtime.pools();
    const { pools } = this.persistence.state;
    const names = all
      ? poolsToDeclare(this.settings.poolCount, pools.keys()).filter((name) => !this.#declared.has(name))
      : [...pools.keys()].filter((name) => (pools.get(name)?.servers.size ?? 0) > 0);
    return names.filter((name) => !present.has(name));
  }

  /** HAProxy may have become another process or been changed by someone: look before the next step. */
  forget(): void {
    this.#view = undefined;
  }

  renderPools(pools: ReadonlyMap<string, Pool>): string {
    let text = POOLS_HEADER;
    for (const name of poolsToDeclare(this.settings.poolCount, pools.keys())) {
      if (this.#declared.has(name)) continue;
      text += renderPool(name, pools.get(name)?.servers ?? NO_SERVERS);
    }
    return text;
  }

  /** Looks which pools the operator's own configuration declares, and which were left alone at the first start. */
  async prepare(): Promise<void> {
    await this.#first.remember();
    const config = await textOf(this.settings.files.config);
    this.#declared = declaredPools(config);
    this.#declaredServers = new Set(configServers(config).map(({ server }) => server));
  }

  /** @throws AppError haproxy_unavailable or haproxy_rejected while it cannot be known what HAProxy has */
  adopt(mapText = ''): Promise<State> {
    return this.#first.take(mapText);
  }

  apply(change: StateChange, before: State): Promise<void> {
    return metrics.apply(this.#apply(change, before));
  }

  async preview(change: StateChange, before: State): Promise<Step[]> {
    const view = this.#view ?? (await this.#look(before.routing()));
    return this.#plan(view.sidesOf(change), view);
  }

  async #apply(change: StateChange, before: State): Promise<void> {
    try {
      await this.#advanceTo(change, before, this.#view ?? (await this.#look(before.routing())));
    } catch (error) {
      this.forget();
      if (!(error instanceof AppError) || error.code !== 'haproxy_rejected') {
        this.#owe(change);
        throw error;
      }
      await this.#applyAfterLook(change, before);
    }
  }

  /** What went to a HAProxy that was replaced meanwhile is done again on the one that serves now. */
  async #advanceTo(change: StateChange, before: State, known: RoutingView): Promise<void> {
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

  #owe(change: StateChange): void {
    for (const pool of change.pools.keys()) this.#owed.pools.add(pool);
    for (const domain of change.domains.keys()) this.#owed.domains.add(domain);
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
    return this.#planRestore(await this.#look(desired), desired);
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
      await this.restore();
      return;
    }
    const owed: StateChange = {
      pools: new Map([...this.#owed.pools].map((name) => [name, state.pool(name)])),
      domains: new Map([...this.#owed.domains].map((domain) => [domain, state.poolOf(domain)])),
    };
    if (await this.#advance(owed, view)) this.#paid();
  }

  /**
   * Deletes removed servers whose last connection has ended meanwhile. Slots that an operator's configuration has
   * standing by are not touched. Call it with no change under way (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable
   */
  async sweep(): Promise<void> {
    for (const [name, { pool, slot }] of this.#busy) {
      const stillParked = this.#view?.parked.get(pool)?.has(slot) === true;
      if (stillParked && !(await this.runtime.deleteParked(pool, slot))) continue;
      this.#view?.forgetParked(pool, slot);
      this.#busy.delete(name);
    }
    const view = this.#view;
    if (!view || this.#keptPools.size === 0) return;
    const unused = [...this.#keptPools].filter(
      (pool) => view.backends?.has(pool) === true && !this.persistence.state.pool(pool),
    );
    this.#keptPools.clear();
    await this.#take(
      unused.map((pool) => ({ op: 'remove_pool', pool })),
      view,
    );
  }

  async #restore(): Promise<RestoreReport> {
    const started = performance.now();
    const { state } = this.persistence;
    this.forget();
    const desired = state.routing();
    const view = await this.#look(desired);
    const steps = this.#planRestore(view, desired);
    if (!(await this.#take(steps, view)))
      throw new AppError(
        'haproxy_unavailable',
        'HAProxy was replaced while the saved state was put into it.',
      );
    const certificates = await this.#restoreCertificates();
    this.#restored = view.process;
    this.#paid();
    const named = new Set(steps.filter((step) => 'key' in step).map((step) => step.key));
    const servers = new Set(
      steps.filter((step) => 'slot' in step).map((step) => `${step.pool}_${step.slot}`),
    );
    const report = {
      domains: named.size,
      servers: servers.size,
      certificates,
      duration_ms: Math.round(performance.now() - started),
    };
    this.#logger.log(
      `HAProxy has revision ${state.revision}: ${report.domains} names, ${report.servers} servers and ${report.certificates} certificates put right in ${report.duration_ms} ms`,
    );
    return report;
  }

  /** HAProxy refused: someone else may have changed it. Look, try once more, and if that fails put it back. */
  async #applyAfterLook(change: StateChange, before: State): Promise<void> {
    try {
      await this.#advanceTo(change, before, await this.#look(before.routing()));
    } catch (error) {
      this.forget();
      await this.#revert(change, before).catch((failure: unknown) => {
        this.forget();
        this.#owe(change);
        this.#logger.error(`HAProxy was not put back after a refused change: ${messageOf(failure)}`);
      });
      throw error;
    }
  }

  #advance(change: StateChange, view: RoutingView): Promise<boolean> {
    return this.#take(this.#plan(view.sidesOf(change), view), view);
  }

  async #revert(change: StateChange, before: State): Promise<void> {
    await this.#advanceTo(inverse(change, before), before, await this.#look(before.routing()));
  }

  /** Only a change takes a pool away, and only the pool it frees: others may be somebody else's. */
  #plan({ from, to, backends }: Sides, view: RoutingView): Step[] {
    const stays = (pool: string): boolean => !this.#dynamic || this.#isFixed(pool);
    const steps = plan(from, to, view.parked, backends && { backends, stays });
    return this.#dynamic ? steps : refuseNewPools(steps);
  }

  /**
   * Of the pools that are missing, those that have servers are made. One without is made by the first change that
   * needs it; an adopted HAProxy may have names that point at nothing, and nothing is changed about that.
   */
  #planRestore(view: RoutingView, desired: Routing): Step[] {
    const { backends } = view;
    const steps = plan(view.routing, desired, view.parked, backends && { backends, stays: () => true });
    const needed = steps.filter(
      (step) =>
        step.op !== 'add_pool' ||
        (this.#dynamic && !this.#isFixed(step.pool)) ||
        (desired.pools.get(step.pool)?.size ?? 0) > 0,
    );
    return this.#dynamic ? needed : refuseNewPools(needed);
  }

  /** Declared whether used or not, by pools.cfg, by the operator, or by whoever had servers in it before us. */
  #isFixed(pool: string): boolean {
    return (
      (poolNumber(pool) ?? 0) <= this.settings.poolCount ||
      this.#declared.has(pool) ||
      this.#first.leftPools.has(pool)
    );
  }

  /** False where the steps went, in whole or in part, to another process than the view is of. */
  async #take(steps: readonly Step[], view: RoutingView): Promise<boolean> {
    if (steps.length > 0) {
      const kept = steps.filter(
        (step) => step.op === 'remove_server' && this.#declaredServers.has(serverName(step.pool, step.slot)),
      );
      const sent = steps.map((step) => (kept.includes(step) ? parking(step) : step));
      const applied = await this.runtime.apply(sent);
      const { process } = view;
      if (!process || !applied.processes.every((other) => isSameProcess(process, other))) {
        this.forget();
        return false;
      }
      const slots = kept.flatMap((step) => ('slot' in step ? [{ pool: step.pool, slot: step.slot }] : []));
      view.fold(steps, { ...applied, parked: [...applied.parked, ...slots] });
      for (const { pool, slot } of applied.parked) this.#busy.set(serverName(pool, slot), { pool, slot });
      for (const pool of applied.keptPools) this.#keptPools.add(pool);
    }
    this.#view = view;
    return true;
  }

  #paid(): void {
    this.#owed.pools.clear();
    this.#owed.domains.clear();
  }

  async #look(desired: Routing): Promise<RoutingView> {
    this.#dynamic = (await this.runtime.capabilities()).dynamicBackends;
    const live = await this.runtime.readRouting();
    this.#process = live.process;
    return new RoutingView(live, desired, this.#first.leftPools, live.process);
  }
}

/** A slot that the operator's own configuration declares is emptied, not deleted. */
function parking(step: Step): Step {
  return 'slot' in step ? { op: 'set_state', pool: step.pool, slot: step.slot, state: 'maint' } : step;
}

/** How often a change follows a HAProxy that is replaced while it is made. */
const ATTEMPTS = 3;
const NO_SERVERS = new Map<never, never>();
const POOLS_HEADER = `# Written by haproxy-suite from servers.json; changes made here are lost. See haproxy.cfg for the rest.\n`;
