import type { PoolServers, Step } from '../model/routing.js';
import type { SectionedText } from '../storage/files/section-file.js';
import type { Pool, State, StateDelta } from '../model/state.js';

/** What the state is applied to: the reconciler, which knows HAProxy. */
export interface RoutingTarget {
  /** The text of `pools.cfg` for these pools, which come by number; a section a pool. */
  renderPools(pools: readonly (readonly [string, Pool])[]): SectionedText;
  /** The section of one pool with these servers, or that is not in use; '' where it has none. */
  renderPool(name: string, servers: PoolServers | undefined): string;
  /**
   * Makes a change live. When it throws, the target is as `before` again, or will be made so before it is used.
   *
   * @throws AppError haproxy_rejected or haproxy_unavailable
   */
  apply(change: StateDelta, before: State): Promise<void>;
  /**
   * What `apply` would do now. Changes nothing.
   *
   * @throws AppError haproxy_rejected or haproxy_unavailable where it has to look first and cannot
   */
  preview(change: StateDelta, before: State): Promise<Step[]>;
  /** Called once, before anything is rendered. */
  prepare?(): Promise<void>;
  /**
   * The state to begin with where there is no `servers.json`: what is there already. `mapText` is the text of
   * `domains.map`, where that exists.
   *
   * @throws AppError while it cannot be known; nothing is written until it is
   */
  adopt?(mapText: string | undefined): Promise<State>;
}
