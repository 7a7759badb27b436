import type { DriftReport } from '../sync/drift.service.js';
import type { DriftComponentDto, HealthStatus, SuiteComponentDto } from './health.dto.js';
import type { DomainHealthStatus, ServerHealthDto } from './server-health.dto.js';

/** The health is degraded if at least this share of the pools is in use. */
const POOLS_WARNING = 0.8;

const ORDER: readonly HealthStatus[] = ['healthy', 'degraded', 'down'];

export function worst(statuses: readonly HealthStatus[]): HealthStatus {
  return ORDER[Math.max(0, ...statuses.map((status) => ORDER.indexOf(status)))] ?? 'down';
}

/** HAProxy sends requests to a server without health checks as to a server that is up. */
function isUp({ status }: Pick<ServerHealthDto, 'status'>): boolean {
  return status === 'UP' || status === 'no check';
}

export function domainStatus(servers: readonly Pick<ServerHealthDto, 'status'>[]): {
  status: DomainHealthStatus;
  healthy_count: number;
  detail: string;
} {
  const total = servers.length;
  const healthy_count = servers.filter((server) => isUp(server)).length;
  if (total === 0)
    return {
      status: 'no_servers',
      healthy_count,
      detail: 'The pool has no server, so requests get 503. Add one with haproxy_add_server.',
    };
  if (healthy_count === total)
    return {
      status: 'healthy',
      healthy_count,
      detail: total === 1 ? 'The server is up.' : `All ${total} servers are up.`,
    };
  const others = [...new Set(servers.filter((server) => !isUp(server)).map((server) => server.status))];
  const detail = `${healthy_count} of ${total} servers are up; the others are ${others.join(', ')}.`;
  return { status: healthy_count === 0 ? 'down' : 'degraded', healthy_count, detail };
}

export function suiteHealth(
  facts: Omit<SuiteComponentDto, 'status' | 'detail'>,
  readiness: { ready: boolean; reason: string },
): SuiteComponentDto {
  const { pools_in_use: used, pools_total: total } = facts;
  const problems: string[] = [];
  if (!readiness.ready) problems.push(`Not ready: ${readiness.reason}`);
  if (!facts.pools_dynamic && used >= total * POOLS_WARNING)
    problems.push(
      `${used} of ${total} pools are in use. Remove domains, let domains share a pool, or raise HAPROXY_POOL_COUNT, restart the suite and reload HAProxy.`,
    );
  const status = problems.length === 0 ? 'healthy' : 'degraded';
  const detail = problems.join(' ') || `Revision ${facts.revision}; ${used} of ${total} pools are in use.`;
  return { status, detail, ...facts };
}

export function driftHealth(report: DriftReport | undefined, mode: 'heal' | 'report'): DriftComponentDto {
  const healed = report?.healed;
  const facts = {
    mode,
    count: report?.count ?? 0,
    differences: [...(report?.differences ?? [])],
    ...(report && { checked_at: report.checkedAt.toISOString() }),
    ...(healed && { healed_at: healed.at.toISOString() }),
    healed: [...(healed?.differences ?? [])],
  };
  if (!report)
    return { status: 'healthy', detail: 'Not compared yet: the first restore is not finished.', ...facts };
  if (report.failure !== undefined)
    return { status: 'degraded', detail: `The suite cannot compare HAProxy: ${report.failure}`, ...facts };
  if (report.count > 0)
    return {
      status: 'degraded',
      detail: `${report.count} difference(s) from the saved state. Use haproxy_restore_state to restore the saved state, or haproxy_save_state to save the weights, states and addresses that HAProxy has.`,
      ...facts,
    };
  const detail = healed
    ? `No difference. The suite repaired ${healed.count} difference(s) at ${healed.at.toISOString()}.`
    : 'No difference.';
  return { status: 'healthy', detail, ...facts };
}

/** Formats a duration: 93784 seconds is `1 day 2 h`. */
export function duration(seconds: number): string {
  const [days, hours, minutes] = [86_400, 3600, 60].map((unit) => Math.floor(seconds / unit)) as [
    number,
    number,
    number,
  ];
  if (days > 0) return `${days} day${days === 1 ? '' : 's'} ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
