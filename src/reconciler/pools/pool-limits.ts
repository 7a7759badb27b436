import { AppError } from '../../errors/app-error.js';
import type { Step } from '../../model/routing.js';
import { poolName, sortPoolNames } from '../../model/names/pool-name.js';
import type { StateReader } from '../../model/state.js';

/** The highest number of pools, and whether HAProxy can create pools at run time (3.4 and newer). */
export interface PoolLimit {
  count: number;
  dynamic: boolean;
  /** Pools that no new domain gets, because the operator's rules may route to their servers. */
  reserved?: ReadonlySet<string>;
}

/** How an operator gets more pools with a HAProxy before 3.4. */
export const MORE_POOLS =
  'raise HAPROXY_POOL_COUNT, restart the suite and reload HAProxy ({haproxy_reload}; in managed mode the suite does it). ' +
  'HAProxy 3.4 and newer creates pools at run time';

/** Why there is no pool for another domain, and what to do; the end of a sentence. */
export function poolsExhausted({ count, dynamic }: PoolLimit): string {
  const room = `all ${count} pools are in use: remove a domain that is no longer needed, or add the new one to a pool with share_with`;
  return dynamic ? room : `${room}; or ${MORE_POOLS}`;
}

/** The pools that a new domain can get, by number. */
export function* freePools(state: StateReader, limit: PoolLimit): Generator<string> {
  for (let number = state.firstFreeCandidate(); number <= limit.count; number += 1) {
    const name = poolName(number);
    if (!state.pool(name) && limit.reserved?.has(name) !== true) yield name;
  }
}

/** The pool that a new domain gets. @throws AppError pools_exhausted */
export function lowestFreePool(state: StateReader, limit: PoolLimit): string {
  for (const name of freePools(state, limit)) return name;
  throw poolsExhaustedError(limit);
}

export function poolsExhaustedError(limit: PoolLimit): AppError {
  const why = poolsExhausted(limit);
  return new AppError('pools_exhausted', `${why.charAt(0).toUpperCase()}${why.slice(1)}.`);
}

/** Why a pool number is too high, and what to do. */
export function poolBeyond(pool: string, { count, dynamic }: PoolLimit): string {
  const reason = `${pool} is above the limit of ${count} pools; leave pool out`;
  return dynamic ? reason : `${reason}, or ${MORE_POOLS}`;
}

/** The pools of pools.cfg, in order: all pools up to `poolCount`, and the used pools above it. */
export function poolsToDeclare(poolCount: number, used: Iterable<string>): string[] {
  const declared = Array.from({ length: poolCount }, (_, index) => poolName(index + 1));
  return sortPoolNames([...declared, ...used]);
}

/**
 * Returns the steps if they create no pool. HAProxy before 3.4 cannot create pools at run time.
 *
 * @throws AppError haproxy_rejected
 */
export function refuseNewPools(steps: Step[]): Step[] {
  const missing = steps.filter((step) => step.op === 'add_pool').map(({ pool }) => pool);
  if (missing.length === 0) return steps;
  const shown =
    missing.slice(0, 5).join(', ') + (missing.length > 5 ? ` and ${missing.length - 5} more` : '');
  throw new AppError(
    'haproxy_rejected',
    `HAProxy does not have ${shown}, and HAProxy before 3.4 reads pools only from its files. Check that HAProxy is ` +
      'started with the file of HAPROXY_POOLS_FILE, then reload it ({haproxy_reload}).',
  );
}
