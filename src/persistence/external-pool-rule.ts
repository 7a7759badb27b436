import { AppError } from '../errors/app-error.js';
import type { StateDelta, StateReader } from '../model/state.js';

/**
 * Refuses a change that points a domain at a backend of the operator. Only an administrator may do that, whatever the
 * way in is: `backend`, `share_with` or an import.
 *
 * @throws AppError forbidden
 */
export function refuseExternalPools({ domains, pools }: StateDelta, before: StateReader): void {
  for (const [domain, name] of domains) {
    if (name === undefined || before.poolOf(domain) === name) continue;
    const pool = pools.get(name) ?? before.pool(name);
    if (pool?.external)
      throw new AppError(
        'forbidden',
        `Only an administrator may point a domain at a backend of haproxy.cfg (${name}). Use the admin token (MCP_TOKEN) for this call.`,
      );
  }
}
