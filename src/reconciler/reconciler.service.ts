import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../errors/app-error.js';
import { referencedBackends } from '../haproxy/config/config-servers.js';
import { OperatorConfig } from '../haproxy/config/operator-config.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { isSameProcess, type ProcessIdentity } from '../haproxy/runtime/process-identity.js';
import type { Slot } from '../haproxy/runtime/step-commands.js';
import { metrics } from '../lib/metrics.js';
import { domainOfMapKey } from '../model/names/domain-name.js';
import type { Routing, Step } from '../model/routing.js';
import { allSiteRecords, siteRecordsOf } from '../model/sites/site-maps.js';
import { isPoolName } from '../model/names/pool-name.js';
import { inverse } from '../model/change/state-delta.js';
import type { PoolOptions } from '../model/options/pool-options.js';
import type { State, StateDelta, StateReader } from '../model/state.js';
import { changedRecords, withoutRules } from './site-support.js';
import { Settings } from '../settings/settings.js';
import { AdoptionRecord } from './adoption/adoption-record.js';
import { findRouting } from './adoption/adoption-sources.js';
import { adopt, describeAdoption } from './adoption/adopt.js';
import { compareRouting, type Difference } from './drift.js';
import { PendingDeletions } from './pending-deletions.js';
import { FirstChecks } from './first-checks.js';
import { LoadedOptions } from './loaded-options.js';
import { countTouched } from './plan.js';
import type { PoolLimit } from './pools/pool-limits.js';
import { PoolPolicy } from './pools/pool-policy.js';
import { type LiveSettings, PoolSettings } from './pool-settings.js';
import { RoutingView } from './routing-view.js';

/** How often a change is sent at most, if HAProxy is replaced while the change is applied. */
const ATTEMPTS = 3;

/**
 * Makes HAProxy equal to a desired state that the caller gives. It keeps a view of what HAProxy has, so that a change
 * reads nothing from HAProxy. When the view may be wrong, the reconciler drops it and reads HAProxy before the next
 * step.
 */
@Injectable()
export class ReconcilerService {
  readonly #logger = new Logger('Reconciler');
  #view: RoutingView | undefined;
  /** Keys of external pools that this suite removed. A HAProxy that starts from older files may still have them. */
  readonly #removedKeys = new Set<string>();
  readonly #uncertain = new UncertainChanges();
  readonly #adoption: AdoptionRecord;
  readonly #pools: PoolPolicy;
  readonly #deletions: PendingDeletions;
  readonly #firstChecks: FirstChecks;
  readonly #poolSettings: PoolSettings;
  readonly #loadedOptions: LoadedOptions;
  /** Whether the rules of HAProxy know the options of sites, as of the last read. */
  #knowsSites: boolean | undefined;
  /** The settings that `read` read last, and the options of pools. */
  #live: LiveSettings | undefined;
  #liveOptions: ReadonlyMap<string, string> = new Map();

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly settings: Settings,
    private readonly operatorConfig: OperatorConfig,
    private readonly guard: ServerGuard,
  ) {
    this.#adoption = new AdoptionRecord(settings.files.adoption);
    this.#pools = new PoolPolicy(settings, this.#adoption, operatorConfig);
    this.#deletions = new PendingDeletions(runtime);
    this.#firstChecks = new FirstChecks(runtime);
    this.#poolSettings = new PoolSettings(runtime, operatorConfig, settings.serverCaFile);
    this.#loadedOptions = new LoadedOptions(operatorConfig);
  }

  /** Whether HAProxy is known to have the desired state. If false, call `HaproxyRestoreService.repair`. */
  get inSync(): boolean {
    return this.#view !== undefined && this.#uncertain.isEmpty;
  }

  /** The process that is known to have the desired state; undefined if none is. */
  get process(): ProcessIdentity | undefined {
    return this.#view?.process;
  }

  /** Whether HAProxy keeps a removed server, because it still has connections. */
  isParked(pool: string, slot: number): boolean {
    return this.#view?.parked.get(pool)?.has(slot) === true;
  }

  /** Removed servers that HAProxy keeps until their last connection ends. */
  get pendingServers(): Slot[] {
    return this.#deletions.slots;
  }

  /** How many pools there can be. */
  get poolLimit(): PoolLimit {
    return this.#pools.limit;
  }

  /** The entries of the adopted map that `domains.map` keeps, because the state cannot represent them. */
  get keptEntries(): ReadonlyMap<string, string> {
    return this.#adoption.keptEntries;
  }

  /** Reads the record of an adoption by an earlier start. Call it once, before anything else. */
  loadAdoptionRecord(): Promise<void> {
    return this.#adoption.load();
  }

  /**
   * The state to begin with if there is no `servers.json`: what HAProxy has now. Changes nothing in HAProxy. `mapText`
   * is the text of `domains.map`; empty if there is none.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async adopt(mapText = ''): Promise<State> {
    const { source, routing, backends } = await findRouting(this.runtime, this.settings, mapText);
    const adoption = adopt(routing, {
      mapText,
      backends,
      declared: this.operatorConfig.pools,
      referenced: referencedBackends(this.operatorConfig.sections),
    });
    await this.#adoption.save(source, adoption);
    const message = describeAdoption(adoption, source, this.settings.files);
    if (message !== undefined) this.#logger.warn(message);
    return adoption.state;
  }

  /**
   * The pools that HAProxy lacks and that only a reload can create: pools with servers, and with `all` every pool of
   * `pools.cfg`. Empty if HAProxy can create pools at run time.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async poolsToReload(state: State, all: boolean): Promise<string[]> {
    if ((await this.runtime.capabilities()).dynamicBackends) return [];
    return this.#pools.missing(state.pools, await this.runtime.poolNames(), all);
  }

  /**
   * Whether a reload may be needed for the options of pools, so that `poolsToReload` must be asked. Reads nothing from
   * HAProxy.
   */
  mayNeedReload(delta: StateDelta, before: StateReader): boolean {
    if (delta.pools.size === 0) return false;
    if (!this.#view || this.#view.options.size > 0) return true;
    return [...delta.pools].some(([name, pool]) => pool?.options ?? before.pool(name)?.options);
  }

  /**
   * Tells the pools of a change whose options only a reload brings into HAProxy. Valid until the next commit or restore.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async poolsThatNeedReload(before: State): Promise<(delta: StateDelta) => string[]> {
    const view = this.#view ?? (await this.read(before));
    return (delta) => this.#loadedOptions.poolsToReload(delta, before, view);
  }

  /** The pools in use that HAProxy runs with other options than saved. @throws AppError haproxy_unavailable */
  async poolsWithOtherOptions(state: State): Promise<string[]> {
    const [answered, process] = [await this.runtime.loadedOptions(), await this.runtime.info()];
    return this.#loadedOptions.stalePools(state, this.#loadedOptions.complete(answered, process));
  }

  /** Drops the view: HAProxy may be another process, or another program may have changed it. */
  forget(): void {
    this.#view = undefined;
  }

  /**
   * Makes a change live. After an error HAProxy has the state `before`, or `inSync` is false until `repair` succeeds.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  apply(delta: StateDelta, before: State): Promise<void> {
    return metrics.apply(this.#apply(delta, before));
  }

  /** The steps that `apply` would take now. @throws AppError haproxy_rejected, haproxy_unavailable */
  async preview(delta: StateDelta, before: State): Promise<Step[]> {
    const view = this.#view ?? (await this.read(before));
    return this.#planDelta(delta, view, before);
  }

  /**
   * Refuses options of sites that visitors would not see: the running worker has rules without them, or a frontend does
   * not use the rules. Reads nothing; `apply` refuses too, if HAProxy has not been read yet.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  refuseUnknownOptions(delta: StateDelta, before: StateReader): void {
    if (!delta.sites?.size || changedRecords(delta, before).length === 0) return;
    if (this.#knowsSites === false) throw rulesTooOld();
    const bypassed = withoutRules(this.operatorConfig.sections, this.settings.files.map);
    if (bypassed !== undefined)
      throw new AppError(
        'haproxy_rejected',
        `The frontend ${bypassed} of ${this.settings.files.config} does not use the rules of the suite, so the options of a ` +
          `site would have no effect there. Change its line to 'frontend ${bypassed} from suite_web' and use {haproxy_reload} ` +
          '(docs/upgrade.md). Nothing was changed.',
      );
  }

  /** Reads what HAProxy has now, to compare it with `state`. @throws AppError haproxy_unavailable, haproxy_rejected */
  async read(state: State): Promise<RoutingView> {
    const live = await this.runtime.readRouting();
    await this.operatorConfig.usedBy(live.process);
    const { process, backends, tls } = live;
    const options = this.#loadedOptions.complete(live.options, process);
    this.#live = { process, backends, tls };
    this.#liveOptions = options;
    this.#pools.setCapabilities(live.capabilities);
    this.#knowsSites = live.sites !== undefined;
    const leave = new Set([...this.#adoption.unmanagedPools, ...state.externalPools]);
    return new RoutingView(
      { ...live, options },
      this.#desired(state),
      leave,
      live.process,
      this.#removedKeys,
    );
  }

  /** What HAProxy has that differs from `state`; `view` is fresh from `read`. */
  differences(state: State, view: RoutingView): Difference[] {
    this.#view = view;
    return compareRouting(view.routing, this.#desired(state));
  }

  /**
   * The pools and servers whose settings are not those of `defaults pools` and of the saved options, as of the last `read`.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async settingDifferences(state: State): Promise<Difference[]> {
    const stale = this.#loadedOptions.stalePools(state, this.#liveOptions);
    const [first] = stale;
    const options: Difference[] =
      first === undefined ? [] : [{ kind: 'pool_options', name: first, count: stale.length }];
    return this.#live ? [...options, ...(await this.#poolSettings.differences(state, this.#live))] : options;
  }

  /**
   * Makes HAProxy equal to the whole state, and returns how many names and servers it changed. Call it while no change
   * is under way (`PersistenceService.exclusively`), with a view that is fresh from `read`.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async restore(state: State, view: RoutingView): Promise<{ domains: number; servers: number }> {
    this.forget();
    const steps = this.#pools.planRestore(view, this.#desired(state));
    if (!(await this.#execute(steps, view, optionsAfter(state))))
      throw new AppError(
        'haproxy_unavailable',
        'HAProxy was replaced while the suite restored the saved state. The suite tries again within a second.',
      );
    this.#uncertain.clear();
    return countTouched(steps);
  }

  /** The steps that `restore` would take now. @throws AppError haproxy_unavailable, haproxy_rejected */
  async previewRestore(state: State): Promise<Step[]> {
    return this.#pools.planRestore(await this.read(state), this.#desired(state));
  }

  /**
   * Makes everything that failed changes touched equal to `state`. Call it under the same conditions as `restore`.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async repairUncertain(state: State, view: RoutingView): Promise<void> {
    if (await this.#advance(this.#uncertain.asDelta(state), state, view)) this.#uncertain.clear();
  }

  /**
   * Deletes removed servers and pools whose last connection has ended. It does not touch slots that haproxy.cfg
   * declares. Call it while no change is under way (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable
   */
  async deletePending(state: State): Promise<void> {
    const view = this.#view;
    await this.#deletions.deleteSlots(view);
    if (!view) return;
    await this.#execute(
      this.#deletions.takePoolSteps(view, (pool) => state.pool(pool) !== undefined),
      view,
      optionsAfter(state),
    );
  }

  async #apply(delta: StateDelta, before: State): Promise<void> {
    try {
      await this.#advanceUntilDone(delta, before, this.#view ?? (await this.read(before)));
    } catch (error) {
      this.forget();
      if (!(error instanceof AppError) || error.code !== 'haproxy_rejected') {
        this.#uncertain.add(delta, before);
        throw error;
      }
      await this.#applyToFreshView(delta, before);
    }
  }

  /** HAProxy refused. Another program may have changed it, so try once more on a fresh view; if that fails, undo. */
  async #applyToFreshView(delta: StateDelta, before: State): Promise<void> {
    try {
      await this.#advanceUntilDone(delta, before, await this.read(before));
    } catch (error) {
      this.forget();
      await this.#undo(delta, before).catch((failure: unknown) => {
        this.forget();
        this.#uncertain.add(delta, before);
        this.#logger.error(
          `HAProxy refused a change, and the part that was already applied could not be undone: ${messageOf(failure)}`,
        );
      });
      throw error;
    }
  }

  async #undo(delta: StateDelta, before: State): Promise<void> {
    await this.#advanceUntilDone(inverse(delta, before), before, await this.read(before));
  }

  /** If HAProxy is replaced meanwhile, repeats the change on the process that serves now. */
  async #advanceUntilDone(delta: StateDelta, before: State, known: RoutingView): Promise<void> {
    let view = known;
    for (let attempt = 1; ; attempt += 1) {
      if (await this.#advance(delta, before, view)) {
        this.#loadedOptions.applied(delta, before, view);
        return;
      }
      if (attempt === ATTEMPTS)
        throw new AppError(
          'haproxy_unavailable',
          `HAProxy was replaced ${ATTEMPTS} times while a change was applied. Find the reason in the log of HAProxy, then ` +
            'repeat the request.',
        );
      view = await this.read(before);
    }
  }

  #advance(delta: StateDelta, before: State, view: RoutingView): Promise<boolean> {
    return this.#execute(this.#planDelta(delta, view, before), view, optionsAfter(before, delta));
  }

  /** @throws AppError haproxy_unavailable, if the rules of HAProxy do not know a new option of a site */
  #planDelta(delta: StateDelta, view: RoutingView, before: State): Step[] {
    const { to, ...sides } = view.sidesOf(delta, siteRecordsOf(delta, before));
    if (!view.knowsSites && changedRecords(delta, before).length > 0) throw rulesTooOld();
    return this.#pools.planDelta({ ...sides, to: this.#withoutControlPorts(to) }, view);
  }

  /** What HAProxy should have: the state without servers that are a control port. */
  #desired(state: State): Routing {
    return this.#withoutControlPorts({ ...state.routing(), sites: allSiteRecords(state) });
  }

  #withoutControlPorts({ pools, ...others }: Routing): Routing {
    const served = this.guard.withholding();
    const changed = [...pools].map(([name, servers]) => [name, served(servers)] as const);
    return { ...others, pools: new Map(changed) };
  }

  /** Returns false if another process than the one of `view` received some of the steps. */
  async #execute(steps: readonly Step[], view: RoutingView, optionsOf: OptionsOf): Promise<boolean> {
    if (steps.length > 0 && !(await this.#send(steps, view, optionsOf))) {
      this.forget();
      return false;
    }
    this.#view = view;
    return true;
  }

  async #send(steps: readonly Step[], view: RoutingView, optionsOf: OptionsOf): Promise<boolean> {
    const { sent: planned, kept } = this.#pools.keepDeclared(steps);
    try {
      const sent = await this.#firstChecks.prepare(planned, view.unchecked);
      const applied = await this.runtime.apply(sent, optionsOf);
      const atOnce = this.#firstChecks.settle(sent, applied);
      if (atOnce.length > 0) await this.runtime.apply(atOnce, optionsOf);
      const { process } = view;
      if (!process || !applied.processes.every((other) => isSameProcess(process, other))) return false;
      this.#rememberRemovals(steps, view);
      view.add({ steps, keptPools: applied.keptPools, parked: [...applied.parked, ...kept] });
      this.#deletions.add(applied);
      return true;
    } catch (error) {
      this.forget();
      throw error;
    }
  }

  #rememberRemovals(steps: readonly Step[], view: RoutingView): void {
    for (const step of steps)
      if (step.op === 'del_domain' && !isPoolName(view.poolOf(step.key) ?? ''))
        this.#removedKeys.add(step.key);
  }
}

function rulesTooOld(): AppError {
  return new AppError(
    'haproxy_unavailable',
    'HAProxy runs with rules of an earlier version, which do not know the options of sites. Reload it first: ' +
      '{haproxy_reload}. If HAProxy was started without suite.cfg, {haproxy_check_config} says what to change. Nothing was changed.',
  );
}

type OptionsOf = (pool: string) => PoolOptions | undefined;

/** The options of pools after a change. */
function optionsAfter(before: StateReader, delta?: StateDelta): OptionsOf {
  return (name) => (delta?.pools.has(name) ? delta.pools.get(name) : before.pool(name))?.options;
}

/** The pools, names and sites that failed changes touched. HAProxy may still have a part of each change. */
class UncertainChanges {
  readonly #pools = new Set<string>();
  readonly #domains = new Set<string>();
  readonly #sites = new Set<string>();

  get isEmpty(): boolean {
    return this.#pools.size + this.#domains.size + this.#sites.size === 0;
  }

  add(delta: StateDelta, before: State): void {
    for (const key of siteRecordsOf(delta, before).keys()) this.#sites.add(domainOfMapKey(key));
    for (const pool of delta.pools.keys()) this.#pools.add(pool);
    for (const domain of delta.domains.keys()) this.#domains.add(domain);
  }

  clear(): void {
    this.#pools.clear();
    this.#domains.clear();
    this.#sites.clear();
  }

  /** The delta that makes these pools and names equal to `state`. */
  asDelta(state: State): StateDelta {
    return {
      pools: new Map([...this.#pools].map((name) => [name, state.pool(name)])),
      domains: new Map([...this.#domains].map((domain) => [domain, state.poolOf(domain)])),
      sites: new Map([...this.#sites].map((domain) => [domain, state.site(domain)])),
    };
  }
}
