import { AppError } from '../common/errors.js';
import type { Step } from '../common/routing.js';
import { poolNumber } from '../persistence/state.js';

/** More pools than this are not made at run time; HAPROXY_POOL_COUNT has the same bound. */
export const MOST_POOLS = 100_000;

/** The pools of pools.cfg, in order: those that are always there, and beyond them those that are in use. */
export function poolsToDeclare(poolCount: number, used: Iterable<string>): string[] {
  const beyond = [...used].map((name) => poolNumber(name) ?? 0).filter((number) => number > poolCount);
  const fixed = Array.from({ length: poolCount }, (_, index) => index + 1);
  return [...fixed, ...beyond.toSorted((one, other) => one - other)].map((number) => `pool_${number}`);
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
