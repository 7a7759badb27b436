import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../errors/app-error.js';
import type { StateDelta, StateReader } from '../model/state.js';

/**
 * Refuses a change of the options of a pool. Only an administrator may make it, whatever the way in is: an import or an
 * undo too. A pool that becomes free loses its options, which is no such change.
 *
 * @throws AppError forbidden
 */
export function refusePoolOptions({ pools }: StateDelta, before: StateReader): void {
  for (const [name, pool] of pools) {
    const former = before.pool(name)?.options;
    if (pool && pool.options !== former && !isDeepStrictEqual(pool.options, former))
      throw new AppError(
        'forbidden',
        `Only an administrator may change the options of a pool (${name}). Use the admin token (MCP_TOKEN) for this call.`,
      );
  }
}
