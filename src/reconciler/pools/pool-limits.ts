import { AppError } from '../../errors/app-error.js';
import type { Step } from '../../model/routing.js';
import { poolName, sortPoolNames } from '../../model/pool-name.js';

/** How many pools there can be, and whether HAProxy makes those that it does not have. */
export interface PoolLimit {
  count: number;
  dynamic: boolean;
}

/** How there get to be more pools on a HAProxy that makes none. */
const MORE_POOLS =
  'raise HAPROXY_POOL_COUNT and restart the suite, after which HAProxy has to be reloaded (haproxy_reload; in managed ' +
  'mode the suite does it). HAProxy 3.4 and newer makes pools as they are needed';

/** Why there is no pool for another domain, and what to do; for the end of a sentence. */
export function poolsExhausted({ count, dynamic }: PoolLimit): string {
  const room = `all ${count} pools are in use: remove a domain that is not needed any more, or let the new one join a pool with share_with`;
  return dynamic ? room : `${room}; or ${MORE_POOLS}`;
}

/** Why a pool of that number cannot be had. */
export function poolBeyond(pool: string, { count, dynamic }: PoolLimit): string {
  const words = `${pool} is beyond the ${count} pools there can be; leave pool out`;
  return dynamic ? words : `${words}, or ${MORE_POOLS}`;
}

/** The pools of pools.cfg, in order: those that are always there, and beyond them those that are in use. */
export function poolsToDeclare(poolCount: number, used: Iterable<string>): string[] {
  const declared = Array.from({ length: poolCount }, (_, index) => poolName(index + 1));
  return sortPoolNames([...declared, ...used]);
}

/**
 * For a HAProxy before 3.4, which makes no pools at run time.
 *
 * @throws AppError haproxy_rejected where the plan needs one
 */
export function refuseNewPools(steps: Step[]): Step[] {
  const missing = steps.filter((step) => step.op === 'add_pool').map(({ pool }) => pool);
  if (missing.length === 0) return steps;
  const shown =
    missing.slice(0, 5).join(', ') + (missing.length > 5 ? ` and ${missing.length - 5} more` : '');
  throw new AppError(
    'haproxy_rejected',
    `HAProxy does not have ${shown}, and before 3.4 it gets a pool only by reading its files: see that it is started ` +
      'with the pools file of the settings, then reload it (haproxy_reload).',
  );
}
