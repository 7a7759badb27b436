import { messageOf } from '../errors/app-error.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { ServerStatusRow } from '../haproxy/runtime/server-status.js';
import { requireMatch } from '../model/domain-match.js';
import type { State } from '../model/state.js';
import { externalHealth } from './external-health.js';
import { domainHealth } from './live-servers.js';
import type { DomainHealthDto } from './server-health.dto.js';

/** The status of servers. `failure`: why HAProxy could not be read. */
export interface ReadStatuses {
  rows: readonly ServerStatusRow[];
  failure?: string;
}

/**
 * The health of a domain, or of the wildcard that serves it. `readStatuses` reads the servers of a pool. If HAProxy
 * cannot be read, the reason is part of the answer, because HAProxy can be restarting.
 *
 * @throws AppError domain_not_found
 */
export async function readDomainHealth(
  state: State,
  domain: string,
  runtime: HaproxyRuntimeService,
  readStatuses: (pool: string) => Promise<readonly ServerStatusRow[]>,
): Promise<DomainHealthDto> {
  const match = requireMatch(state, domain);
  if (state.pool(match.pool)?.external)
    return {
      ...domainHealth(state, domain, match, { rows: [] }),
      ...(await externalHealth(runtime, match.pool)),
    };
  return domainHealth(state, domain, match, await orFailure(readStatuses(match.pool)));
}

/** The rows, or why they could not be read. */
export function orFailure(read: Promise<readonly ServerStatusRow[]>): Promise<ReadStatuses> {
  return read.then(
    (rows) => ({ rows }),
    (error: unknown) => ({ rows: [], failure: messageOf(error) }),
  );
}
