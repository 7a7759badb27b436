import type { Routing, Step } from '../../model/routing.js';
import { MAX_POOL_COUNT, poolNumber, serverName } from '../../model/names/pool-name.js';
import type { HaproxyCapabilities } from '../../haproxy/runtime/capabilities.js';
import type { OperatorConfig } from '../../haproxy/config/operator-config.js';
import type { Slot } from '../../haproxy/runtime/step-commands.js';
import type { Pool } from '../../model/state.js';
import type { Settings } from '../../settings/settings.js';
import type { AdoptionRecord } from '../adoption/adoption-record.js';
import { plan } from '../plan.js';
import { type PoolLimit, poolsToDeclare, refuseNewPools } from './pool-limits.js';
import type { RoutingView, Sides } from '../routing-view.js';

/**
 * Which pools exist and who owns them: pools that haproxy.cfg declares, pools up to HAPROXY_POOL_COUNT, pools that the
 * adoption left alone, and pools that the suite creates and deletes at run time (HAProxy 3.4 and newer).
 */
export class PoolPolicy {
  /** Whether HAProxy can create pools at run time, as of the last read. */
  #dynamic = false;

  constructor(
    private readonly settings: Settings,
    private readonly adoption: AdoptionRecord,
    private readonly operatorConfig: OperatorConfig,
  ) {}

  /** Records the capabilities of the HAProxy process that was just read. */
  setCapabilities({ dynamicBackends }: HaproxyCapabilities): void {
    this.#dynamic = dynamicBackends;
  }

  /** The highest number of pools, and whether HAProxy can create pools at run time. */
  get limit(): PoolLimit {
    return {
      count: this.#dynamic ? MAX_POOL_COUNT : this.settings.poolCount,
      dynamic: this.#dynamic,
      reserved: this.adoption.reservedPools,
    };
  }

  /** The pools with servers, or with `all` the pools that pools.cfg declares, that are not `present`. */
  missing(pools: ReadonlyMap<string, Pool>, present: ReadonlySet<string>, all: boolean): string[] {
    const names = all
      ? this.#declared(pools)
      : [...pools.keys()].filter((name) => (pools.get(name)?.servers.size ?? 0) > 0);
    return names.filter((name) => !present.has(name));
  }

  /** The plan of one change. It deletes only pools that the change frees, because others may belong to the operator. */
  planDelta({ from, to, backends }: Sides, view: RoutingView): Step[] {
    const stays = (pool: string): boolean => !this.#dynamic || this.#isFixed(pool);
    const steps = plan(from, to, view.parked, backends && { backends, stays });
    return this.#dynamic ? steps : refuseNewPools(steps);
  }

  /**
   * The plan of a restore. It creates a missing pool only if the pool has servers or was created at run time; the first
   * change that needs another pool creates it. An adopted HAProxy may have names whose pool does not exist, and a
   * restore does not change these names.
   */
  planRestore(view: RoutingView, desired: Routing): Step[] {
    const { backends } = view;
    const steps = plan(view.routing, desired, view.parked, backends && { backends, stays: () => true });
    const isNeeded = (pool: string): boolean =>
      (this.#dynamic && !this.#isFixed(pool)) || (desired.pools.get(pool)?.size ?? 0) > 0;
    const needed = steps.filter((step) => step.op !== 'add_pool' || isNeeded(step.pool));
    return this.#dynamic ? needed : refuseNewPools(needed);
  }

  /** Replaces the deletion of a server that haproxy.cfg declares by maintenance, because HAProxy cannot recreate its options. */
  keepDeclared(steps: readonly Step[]): { sent: readonly Step[]; kept: Slot[] } {
    const kept: Slot[] = [];
    if (this.operatorConfig.servers.size === 0) return { sent: steps, kept };
    const sent = steps.map((step): Step => {
      if (step.op !== 'remove_server' || !this.operatorConfig.servers.has(serverName(step.pool, step.slot)))
        return step;
      const { pool, slot } = step;
      kept.push({ pool, slot });
      return { op: 'set_state', pool, slot, state: 'maint' };
    });
    return { sent, kept };
  }

  /** The pools that pools.cfg declares. */
  #declared(pools: ReadonlyMap<string, Pool>): string[] {
    return poolsToDeclare(this.settings.poolCount, pools.keys()).filter(
      (name) => !this.operatorConfig.pools.has(name) && !pools.get(name)?.external,
    );
  }

  /** Whether a pool exists without a domain: pools.cfg or haproxy.cfg declares it, or the adoption left it alone. */
  #isFixed(pool: string): boolean {
    return (
      (poolNumber(pool) ?? 0) <= this.settings.poolCount ||
      this.operatorConfig.pools.has(pool) ||
      this.adoption.unmanagedPools.has(pool)
    );
  }
}
