import type { PoolServers, Routing, Step } from '../../model/routing.js';
import { serverName } from '../../model/routing.js';
import type { HaproxyCapabilities } from '../../haproxy/runtime/capabilities.js';
import { configServers } from '../../haproxy/config/config-servers.js';
import { declaredPools } from '../../haproxy/config/declared-pools.js';
import type { Slot } from '../../haproxy/runtime/step-commands.js';
import { renderPool } from '../../storage/formats/pools-cfg.js';
import type { Section, SectionedText } from '../../storage/files/section-file.js';
import { poolNumber, type Pool } from '../../model/state.js';
import type { Settings } from '../../settings/settings.js';
import type { FirstStart } from '../adoption/adoption.js';
import { textOf } from '../adoption/adoption-sources.js';
import { plan } from '../plan.js';
import { MOST_POOLS, type PoolLimit, poolsToDeclare, refuseNewPools } from './pool-limits.js';
import type { RoutingView, Sides } from '../routing-view.js';

/**
 * Which pools there are and whose they are: declared by the operator's own configuration, fixed by HAPROXY_POOL_COUNT,
 * left alone since the first start, or made and deleted while HAProxy runs.
 */
export class PoolPolicy {
  /** Pools that haproxy.cfg declares itself, so that pools.cfg must not. */
  #declared: ReadonlySet<string> = new Set();
  /** Slots that it declares: made anew after a deletion they would lack the options they have there. */
  #declaredServers: ReadonlySet<string> = new Set();
  /** Whether HAProxy makes pools at run time; as it was when it was last looked at. */
  #dynamic = false;

  constructor(
    private readonly settings: Settings,
    private readonly first: FirstStart,
  ) {}

  /** Looks which pools the operator's own configuration declares, and which were left alone at the first start. */
  async prepare(): Promise<void> {
    await this.first.remember();
    const config = await textOf(this.settings.files.config);
    this.#declared = declaredPools(config);
    this.#declaredServers = new Set(configServers(config).map(({ server }) => server));
  }

  /** What the HAProxy that was just looked at can do. */
  learn({ dynamicBackends }: HaproxyCapabilities): void {
    this.#dynamic = dynamicBackends;
  }

  /** How many pools there can be: as many as are declared, or with HAProxy 3.4 as many as anyone needs. */
  get limit(): PoolLimit {
    return { count: this.#dynamic ? MOST_POOLS : this.settings.poolCount, dynamic: this.#dynamic };
  }

  /** The text of `pools.cfg`: those in use, which come by number, and between them those that are always there. */
  render(pools: readonly (readonly [string, Pool])[]): SectionedText {
    const sections: Section[] = [];
    let next = 1;
    const addEmpty = (end: number) => {
      for (; next < end && next <= this.settings.poolCount; next += 1)
        sections.push([`pool_${next}`, this.renderPool(`pool_${next}`, NO_SERVERS)]);
    };
    for (const [name, { servers }] of pools) {
      const number = poolNumber(name) ?? 0;
      addEmpty(number);
      sections.push([name, this.renderPool(name, servers)]);
      next = number + 1;
    }
    addEmpty(Number.POSITIVE_INFINITY);
    return { head: POOLS_HEADER, sections };
  }

  /** A pool in `pools.cfg`: nothing of one that is declared elsewhere, or beyond those that are always there. */
  renderPool(name: string, servers: PoolServers | undefined): string {
    if (this.#declared.has(name)) return '';
    if (servers) return renderPool(name, servers);
    return (poolNumber(name) ?? 0) <= this.settings.poolCount ? renderPool(name, NO_SERVERS) : '';
  }

  /** Of the pools in use that have servers, and with `all` of those that pools.cfg declares, the ones not `present`. */
  missing(pools: ReadonlyMap<string, Pool>, present: ReadonlySet<string>, all: boolean): string[] {
    const names = all
      ? this.#ours(pools)
      : [...pools.keys()].filter((name) => (pools.get(name)?.servers.size ?? 0) > 0);
    return names.filter((name) => !present.has(name));
  }

  /** Only a change takes a pool away, and only the pool it frees: others may be somebody else's. */
  planChange({ from, to, backends }: Sides, view: RoutingView): Step[] {
    const stays = (pool: string): boolean => !this.#dynamic || this.#isFixed(pool);
    const steps = plan(from, to, view.parked, backends && { backends, stays });
    return this.#dynamic ? steps : refuseNewPools(steps);
  }

  /**
   * Of the pools that are missing, those that have servers are made. One without is made by the first change that
   * needs it; an adopted HAProxy may have names that point at nothing, and nothing is changed about that.
   */
  planRestore(view: RoutingView, desired: Routing): Step[] {
    const { backends } = view;
    const steps = plan(view.routing, desired, view.parked, backends && { backends, stays: () => true });
    const isNeeded = (pool: string): boolean =>
      (this.#dynamic && !this.#isFixed(pool)) || (desired.pools.get(pool)?.size ?? 0) > 0;
    const needed = steps.filter((step) => step.op !== 'add_pool' || isNeeded(step.pool));
    return this.#dynamic ? needed : refuseNewPools(needed);
  }

  /** The steps as HAProxy is told: a slot that the operator's own configuration declares is emptied, not deleted. */
  keepDeclared(steps: readonly Step[]): { sent: readonly Step[]; kept: Slot[] } {
    const kept: Slot[] = [];
    if (this.#declaredServers.size === 0) return { sent: steps, kept };
    const sent = steps.map((step): Step => {
      if (step.op !== 'remove_server' || !this.#declaredServers.has(serverName(step.pool, step.slot)))
        return step;
      const { pool, slot } = step;
      kept.push({ pool, slot });
      return { op: 'set_state', pool, slot, state: 'maint' };
    });
    return { sent, kept };
  }

  /** The pools that are the suite's to declare. */
  #ours(pools: ReadonlyMap<string, Pool>): string[] {
    return poolsToDeclare(this.settings.poolCount, pools.keys()).filter((name) => !this.#declared.has(name));
  }

  /** Declared whether used or not, by pools.cfg, by the operator, or by whoever had servers in it before us. */
  #isFixed(pool: string): boolean {
    return (
      (poolNumber(pool) ?? 0) <= this.settings.poolCount ||
      this.#declared.has(pool) ||
      this.first.leftPools.has(pool)
    );
  }
}

const NO_SERVERS = new Map<never, never>();
const POOLS_HEADER = `# Written by haproxy-suite from servers.json; changes made here are lost. See haproxy.cfg for the rest.\n`;
