import type { HaproxyInfo } from '../haproxy/parsers/info.parser.js';
import type { StatRow } from '../haproxy/parsers/stat.parser.js';
import type { ProcessConnectionsDto, ProcessStatsDto, SessionsDto, StatDto, StatScope } from './stats.dto.js';

/** The scope of a row of `show stat`. Undefined for a listener, because its frontend counts the same sessions. */
export function scopeOf(row: StatRow): StatScope | undefined {
  return row.kind === 'listener' ? undefined : row.kind;
}

/** One row of `show stat` as typed numbers. Omits optional fields whose column is empty (not applicable). */
export function statOf(row: StatRow, scope: StatScope, status: string): StatDto {
  const isServer = scope === 'server';
  const number = (column: string) => Math.max(0, row.number(column));
  return {
    scope,
    name: isServer ? row.service : row.proxy,
    ...(isServer && { backend: row.proxy }),
    status,
    sessions: sessionsOf(row),
    requests: {
      // HAProxy does not count the requests of a server. Its sessions are the same number.
      total: number(isServer && row.get('req_tot') === undefined ? 'stot' : 'req_tot'),
      ...optional(row, { rate: 'req_rate', rate_max: 'req_rate_max' }),
    },
    responses: {
      http_1xx: number('hrsp_1xx'),
      http_2xx: number('hrsp_2xx'),
      http_3xx: number('hrsp_3xx'),
      http_4xx: number('hrsp_4xx'),
      http_5xx: number('hrsp_5xx'),
      other: number('hrsp_other'),
    },
    errors: {
      ...optional(row, {
        request: 'ereq',
        connection: 'econ',
        response: 'eresp',
        retries: 'wretr',
        redispatches: 'wredis',
      }),
      denied: number('dreq') + number('dresp'),
    },
    bytes_in: number('bin'),
    bytes_out: number('bout'),
    ...optional(row, { queued: 'qcur', weight: 'weight', downtime_seconds: 'downtime' }),
    ...(scope !== 'frontend' && {
      average: {
        queue_ms: number('qtime'),
        connect_ms: number('ctime'),
        response_ms: number('rtime'),
        total_ms: number('ttime'),
      },
    }),
  };
}

export function sessionsOf(row: StatRow): SessionsDto {
  const number = (column: string) => Math.max(0, row.number(column));
  return {
    current: number('scur'),
    max: number('smax'),
    // For a backend `slim` is its fullconn, which is no limit.
    ...(row.kind !== 'backend' && optional(row, { limit: 'slim' })),
    total: number('stot'),
    rate: number('rate'),
    rate_max: number('rate_max'),
  };
}

export const NO_SESSIONS: Readonly<SessionsDto> = { current: 0, max: 0, total: 0, rate: 0, rate_max: 0 };

export function processOf(info: HaproxyInfo): ProcessStatsDto {
  return {
    version: info.version,
    pid: info.pid,
    uptime_seconds: info.uptimeSeconds,
    threads: info.threads,
    connections: processConnections(info),
    requests_total: info.totalRequests,
    idle_percent: Math.min(100, Math.max(0, info.idlePercent)),
  };
}

export function processConnections(info: HaproxyInfo): ProcessConnectionsDto {
  return {
    current: info.currentConnections,
    limit: info.maxConnections,
    total: info.totalConnections,
    rate: info.connectionRate,
    rate_max: Number(info.fields.get('MaxConnRate')) || 0,
  };
}

export function sortByKey<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return items
    .map((item): [string, T] => [keyOf(item), item])
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, item]) => item);
}

function optional<K extends string>(row: StatRow, columns: Record<K, string>): Partial<Record<K, number>> {
  const found: Partial<Record<K, number>> = {};
  for (const name of Object.keys(columns) as K[]) {
    const value = row.get(columns[name]);
    if (typeof value === 'number' && value >= 0) found[name] = value;
  }
  return found;
}
