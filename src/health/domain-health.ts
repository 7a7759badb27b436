import { messageOf } from '../errors/app-error.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { type ServerStatusRow, unpublishedReason } from '../haproxy/runtime/server-status.js';
import { requireMatch } from '../model/names/domain-match.js';
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
 * The health of a domain, or of the wildcard that serves it: its servers, and whether visitors reach them. `readStatuses`
 * reads the servers of a pool. If HAProxy cannot be read, the reason is part of the answer, because HAProxy can be
 * restarting.
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
  const health = state.pool(match.pool)?.external
    ? {
        ...domainHealth(state, domain, match, { rows: [] }),
        ...(await externalHealth(runtime, match.pool)),
      }
    : domainHealth(state, domain, match, await orFailure(readStatuses(match.pool)));
  // The servers get requests. Whether requests reach HAProxy and the pool is asked only then.
  if (health.status !== 'healthy' && health.status !== 'degraded') return health;
  return { ...health, ...(await accessProblem(runtime, match.pool, health)) };
}

/** What keeps visitors from the servers of a pool; empty if nothing does. */
async function accessProblem(
  runtime: HaproxyRuntimeService,
  pool: string,
  { detail }: DomainHealthDto,
): Promise<Partial<Pick<DomainHealthDto, 'status' | 'detail'>>> {
  try {
    const { frontends, unpublished } = await runtime.backendAccess(pool);
    if (unpublished) return { status: 'down', detail: unpublishedReason(pool) };
    if (frontends.visitors === 'open') return {};
    const status = frontends.visitors === 'closed' ? 'down' : 'degraded';
    return { status, detail: [...frontends.problems, detail].join(' ') };
  } catch (error) {
    return { status: 'degraded', detail: messageOf(error) };
  }
}

/** The rows, or why they could not be read. */
export function orFailure(read: Promise<readonly ServerStatusRow[]>): Promise<ReadStatuses> {
  return read.then(
    (rows) => ({ rows }),
    (error: unknown) => ({ rows: [], failure: messageOf(error) }),
  );
}
