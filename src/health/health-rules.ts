import { isUsed } from '../haproxy/runtime/server-status.js';
import type { DriftReport } from '../sync/drift.service.js';
import type { DriftComponentDto, HealthStatus, SuiteComponentDto } from './health.dto.js';
import type { DomainHealthStatus, ServerHealthDto } from './server-health.dto.js';

/** The health is degraded if at least this share of the pools is in use. */
const POOLS_WARNING = 0.8;

const ORDER: readonly HealthStatus[] = ['healthy', 'degraded', 'down'];

export function worst(statuses: readonly HealthStatus[]): HealthStatus {
  return ORDER[Math.max(0, ...statuses.map((status) => ORDER.indexOf(status)))] ?? 'down';
}

/** What the health of a domain depends on: the status of each server in HAProxy, and its share of the requests. */
type Facts = Pick<ServerHealthDto, 'status'> & { weight: number };

/**
 * The health of a domain. A server counts as healthy only if its check has passed and it gets requests. Pure.
 */
export function domainStatus(servers: readonly Facts[]): {
  status: DomainHealthStatus;
  healthy_count: number;
  detail: string;
} {
  const total = servers.length;
  const used = servers.filter(({ status, weight }) => isUsed(status, weight));
  const healthy_count = used.filter(({ status }) => status === 'UP').length;
  const all = { healthy_count, detail: reasonOf(servers, healthy_count) };
  if (total === 0) return { status: 'no_servers', ...all };
  if (healthy_count === total) return { status: 'healthy', ...all };
  if (used.length === 0) return { status: 'down', ...all };
  const waits = healthy_count === 0 && used.some(({ status }) => status === 'checking');
  return { status: waits ? 'checking' : 'degraded', ...all };
}

function reasonOf(servers: readonly Facts[], healthy: number): string {
  const total = servers.length;
  if (total === 0) return 'The pool has no server, so requests get 503. Add one with {haproxy_add_server}.';
  if (healthy === total)
    return total === 1
      ? 'The server passed its health check.'
      : `All ${total} servers passed their health check.`;
  const others = new Map<string, number>();
  for (const server of servers) {
    const reason = problemOf(server);
    if (reason !== undefined) others.set(reason, (others.get(reason) ?? 0) + 1);
  }
  const listed = [...others].map(([reason, count]) => `${count} ${reason}`).join(', ');
  const start = `${healthy} of ${total} server(s) passed the health check and get requests; ${listed}.`;
  if (servers.some(({ status, weight }) => isUsed(status, weight))) return start;
  const allZero = servers.every((server) => hasNoWeight(server));
  return allZero
    ? `All weights are 0, so no server gets requests, and visitors get 503. Use {haproxy_set_server_weight}.`
    : `No server can get requests, so visitors get 503: ${listed}.`;
}

/** Whether only its weight of 0 keeps a server from requests. */
function hasNoWeight({ status, weight }: Facts): boolean {
  return weight === 0 && isUsed(status, 1);
}

/** Why a server is not healthy, as text after a number of servers; undefined if it is healthy. */
function problemOf({ status, weight }: Facts): string | undefined {
  if (hasNoWeight({ status, weight })) return 'with weight 0';
  switch (status) {
    case 'UP':
      return undefined;
    case 'checking':
      return 'checking (no check has passed yet)';
    case 'no check':
      return 'without a health check (add "check" to the server in haproxy.cfg)';
    default:
      return status;
  }
}

export function suiteHealth(
  facts: Omit<SuiteComponentDto, 'status' | 'detail'>,
  readiness: { ready: boolean; reason: string },
  tokenProblems: readonly string[] = [],
): SuiteComponentDto {
  const { pools_in_use: used, pools_total: total } = facts;
  const problems: string[] = [];
  if (!readiness.ready) problems.push(`Not ready: ${readiness.reason}`);
  if (!facts.pools_dynamic && used >= total * POOLS_WARNING)
    problems.push(
      `${used} of ${total} pools are in use. Remove domains, let domains share a pool, or raise HAPROXY_POOL_COUNT, restart the suite and reload HAProxy.`,
    );
  if (facts.forbidden_servers.length > 0)
    problems.push(`Remove or move servers that no change could add: ${facts.forbidden_servers.join('. ')}.`);
  problems.push(...tokenProblems);
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
      detail: `${report.count} difference(s) from the saved state. Use {haproxy_restore_state} to restore the saved state, or {haproxy_save_state} to save the weights, states and addresses that HAProxy has.`,
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
