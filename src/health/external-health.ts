import { messageOf } from '../errors/app-error.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { StatRow } from '../haproxy/parsers/stat.parser.js';
import { isUsed, serverFinder, type ServerStatus, statusOf } from '../haproxy/runtime/server-status.js';
import type { DomainHealthDto } from './server-health.dto.js';

/** How many servers that are not up one answer names. */
const NAMES_SHOWN = 10;

type ExternalHealth = Pick<DomainHealthDto, 'status' | 'detail' | 'servers' | 'healthy_count' | 'total'>;

/**
 * The health of a backend of the operator, from what HAProxy reports of its servers. The servers are counted and not
 * listed, because they have no slots.
 */
export async function externalHealth(
  runtime: HaproxyRuntimeService,
  backend: string,
): Promise<ExternalHealth> {
  try {
    const rows = await runtime.statsOf([backend]);
    if (rows.length === 0)
      return answer(
        'down',
        `HAProxy has no backend ${backend}. Declare it in haproxy.cfg and call {haproxy_reload}, or remove the domain.`,
      );
    const servers = rows.filter(({ kind }) => kind === 'server');
    const total = servers.length;
    if (total === 0)
      return answer(
        'no_servers',
        `The operator's backend ${backend} has no server. It may answer by its own rules, which the suite does not see.`,
      );
    const find = serverFinder([...servers, ...(await runtime.trackedRows(servers))]);
    const used = servers.filter((row) => isUsed(statusOf(row, find), row.number('weight')));
    const usedWith = (status: ServerStatus) => used.filter((row) => statusOf(row, find) === status);
    const [up, starting, unknown] = [usedWith('UP'), usedWith('checking'), usedWith('no check')];
    const healthy_count = up.length;
    const notUp = servers.filter((row) => !up.includes(row));
    const names = notUp.slice(0, NAMES_SHOWN).map((row) => describeServer(row));
    const others = notUp.length === 0 ? '' : ` Others: ${names.join(', ')}.`;
    const detail = `${healthy_count} of ${total} servers of the operator's backend ${backend} have passed their health check and get requests.${others}`;
    const counts = { healthy_count, total };
    if (healthy_count === total) return answer('healthy', detail, counts);
    if (healthy_count + unknown.length > 0) return answer('degraded', detail, counts);
    return answer(starting.length > 0 ? 'checking' : 'down', detail, counts);
  } catch (error) {
    return answer('down', messageOf(error));
  }
}

function describeServer(row: StatRow): string {
  const status = `${row.service} ${row.text('status')}`;
  return row.number('weight') === 0 ? `${status} with weight 0` : status;
}

function answer(
  status: DomainHealthDto['status'],
  detail: string,
  counts = { healthy_count: 0, total: 0 },
): ExternalHealth {
  return { status, detail, servers: [], ...counts };
}
