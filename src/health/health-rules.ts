import type { CertificateState } from '../certificates/certificate-views.service.js';
import type { DriftReport } from '../sync/drift.service.js';
import type {
  CertificatesComponentDto,
  DriftComponentDto,
  HealthStatus,
  SuiteComponentDto,
} from './health.dto.js';
import type { DomainHealthStatus, ServerHealthDto } from './server-health.dto.js';

/** From this share of the pools in use on, somebody should make room. */
export const POOLS_WARNING = 0.8;
/** Renewal begins 30 days before the end; with this many left it has failed for two weeks. */
const CERTIFICATE_WARNING_DAYS = 14;
const CERTIFICATE_FAILURE_DAYS = 3;

const ORDER: readonly HealthStatus[] = ['healthy', 'degraded', 'down'];

export function worst(statuses: readonly HealthStatus[]): HealthStatus {
  return ORDER[Math.max(0, ...statuses.map((status) => ORDER.indexOf(status)))] ?? 'down';
}

/** A server without checks is given requests as one that is up is; nobody knows better. */
export function isUp({ status }: Pick<ServerHealthDto, 'status'>): boolean {
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
      detail: 'The pool has no server, so requests are answered 503. haproxy_add_server adds one.',
    };
  if (healthy_count === total)
    return {
      status: 'healthy',
      healthy_count,
      detail: total === 1 ? 'Its server is up.' : `All ${total} servers are up.`,
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
  const words: string[] = [];
  if (!readiness.ready) words.push(`Not ready: ${readiness.reason}`);
  if (!facts.pools_dynamic && used >= total * POOLS_WARNING)
    words.push(
      `${used} of ${total} pools are in use; remove domains, let some share a pool, or raise HAPROXY_POOL_COUNT, restart the suite and reload HAProxy.`,
    );
  const status = words.length === 0 ? 'healthy' : 'degraded';
  const detail = words.join(' ') || `Revision ${facts.revision}; ${used} of ${total} pools are in use.`;
  return { status, detail, ...facts };
}

export function certificatesHealth(certificates: readonly CertificateState[]): CertificatesComponentDto {
  if (certificates.length === 0) return { status: 'healthy', detail: 'No certificates.', total: 0 };
  const ends = Math.min(...certificates.map((certificate) => certificate.days_left));
  const words = certificates.flatMap((certificate) => certificateWords(certificate));
  const status = ends < CERTIFICATE_FAILURE_DAYS ? 'down' : words.length > 0 ? 'degraded' : 'healthy';
  const shown = words.slice(0, 10).join('; ') + (words.length > 10 ? `; and ${words.length - 10} more` : '');
  return {
    status,
    detail:
      shown === ''
        ? `${certificates.length} certificate(s); the first expires in ${ends} days.`
        : `${shown}. haproxy_renew_cert renews, haproxy_load_cert loads one.`,
    total: certificates.length,
    days_left: ends,
  };
}

function certificateWords({ domain, days_left, loaded, problem }: CertificateState): string[] {
  if (days_left < 0) return [`${domain} expired ${-days_left} day(s) ago`];
  if (days_left < CERTIFICATE_WARNING_DAYS) return [`${domain} expires in ${days_left} day(s)`];
  if (!loaded) return [`${domain} is not loaded into HAProxy`];
  return problem === undefined ? [] : [`${domain}: ${problem}`];
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
    return { status: 'healthy', detail: 'Not compared yet: the first restore comes first.', ...facts };
  if (report.failure !== undefined)
    return { status: 'degraded', detail: `HAProxy could not be compared: ${report.failure}`, ...facts };
  if (report.count > 0)
    return {
      status: 'degraded',
      detail: `${report.count} difference(s) from the saved state. haproxy_restore_state puts the saved state back, haproxy_save_state takes weights, states and addresses over.`,
      ...facts,
    };
  const detail = healed
    ? `As saved. ${healed.count} difference(s) were put right at ${healed.at.toISOString()}.`
    : 'As saved.';
  return { status: 'healthy', detail, ...facts };
}

/** `93784` → `1 day 2 h`. */
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
