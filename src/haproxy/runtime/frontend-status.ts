import type { HaproxyInfo } from '../parsers/info.parser.js';
import type { StatRow } from '../parsers/stat.parser.js';

/** Whether visitors can connect to HAProxy. */
export interface FrontendStatus {
  /** What keeps visitors from a connection, as sentences. Empty if nothing does. */
  problems: string[];
  /**
   * What visitors of the domains get: `open`; `waits`: new visitors wait for a free connection; `closed`: HAProxy accepts
   * no connection.
   */
  visitors: 'open' | 'waits' | 'closed';
}

type Connections = Pick<HaproxyInfo, 'currentConnections' | 'maxConnections' | 'fields'>;

/**
 * What `show info` and the frontends of `show stat` say. Pure. `routing` are the names of the frontends that route by
 * the domain map. If HAProxy has none of them, all frontends count.
 */
export function frontendStatus(
  info: Connections,
  rows: readonly StatRow[],
  routing: ReadonlySet<string>,
): FrontendStatus {
  const frontends = rows.filter(({ kind }) => kind === 'frontend');
  const named = frontends.filter(({ proxy }) => routing.has(proxy));
  const used = named.length > 0 ? named : frontends;
  const limits = processLimits(info);
  return {
    problems: [...limits, ...frontends.flatMap((row) => problemOf(row) ?? [])],
    visitors: visitorsOf(used, limits.length > 0),
  };
}

function visitorsOf(frontends: readonly StatRow[], processIsFull: boolean): FrontendStatus['visitors'] {
  if (frontends.length > 0 && frontends.every((row) => isClosed(row))) return 'closed';
  const noneIsFree = frontends.length > 0 && frontends.every((row) => isClosed(row) || isFull(row));
  return processIsFull || noneIsFree ? 'waits' : 'open';
}

/** The status is PAUSED after `disable frontend`, and STOP after `shutdown frontend`. */
function isClosed(row: StatRow): boolean {
  return ['PAUSED', 'STOP'].includes(row.text('status'));
}

function isFull(row: StatRow): boolean {
  return row.number('slim') > 0 && row.number('scur') >= row.number('slim');
}

function problemOf(row: StatRow): string | undefined {
  const { proxy } = row;
  switch (row.text('status')) {
    case 'PAUSED':
      return `The frontend ${proxy} is paused ("disable frontend") and accepts no connection. Use {haproxy_reload}, or "enable frontend ${proxy}" on the Runtime API.`;
    case 'STOP':
      return `The frontend ${proxy} is stopped ("shutdown frontend") and accepts no connection. Use {haproxy_reload}.`;
    default:
      return isFull(row)
        ? `The frontend ${proxy} has all of its ${row.text('slim')} connections in use, so new visitors wait. Find the clients with {haproxy_get_connections}, or raise its maxconn in haproxy.cfg and use {haproxy_reload}.`
        : undefined;
  }
}

function processLimits({ currentConnections, maxConnections, fields }: Connections): string[] {
  const problems: string[] = [];
  if (maxConnections > 0 && currentConnections >= maxConnections)
    problems.push(
      `HAProxy has all of its ${maxConnections} connections in use, so new visitors wait. Find the sites with {haproxy_get_connections}, or raise maxconn in the section "global" of haproxy.cfg and use {haproxy_reload}.`,
    );
  const [tls, maxTls] = [Number(fields.get('CurrSslConns')), Number(fields.get('MaxSslConns'))];
  if (maxTls > 0 && tls >= maxTls)
    problems.push(
      `HAProxy has all of its ${maxTls} TLS connections in use, so new visitors of https wait. Raise maxsslconn in the section "global" of haproxy.cfg and use {haproxy_reload}.`,
    );
  return problems;
}
