import { AppError } from '../errors/app-error.js';
import type { Scope } from '../model/scope/scope.js';
import type { StateDelta, StateReader } from '../model/state.js';

/**
 * Refuses a change that points a domain at a backend of the operator. Only an administrator may do that, whatever the
 * way in is: `backend`, `share_with` or an import; or a token that lists the backend.
 *
 * @throws AppError forbidden
 */
export function refuseExternalPools(
  { domains, pools }: StateDelta,
  before: StateReader,
  scope?: Scope,
): void {
  for (const [domain, name] of domains) {
    if (name === undefined || before.poolOf(domain) === name) continue;
    const pool = pools.get(name) ?? before.pool(name);
    if (pool?.external && scope?.allowsBackend(name) !== true)
      throw new AppError(
        'forbidden',
        `Only an administrator may point a domain at a backend of haproxy.cfg (${name}), unless its token lists it in backends. Use the admin token (MCP_TOKEN) for this call.`,
      );
  }
}
