import type { StatRow } from '../haproxy/parsers/stat.parser.js';
import { serverFinder, statusOf } from '../haproxy/runtime/server-status.js';
import { groupBy } from '../lib/group-by.js';
import { isPoolName } from '../model/names/pool-name.js';

/**
 * Returns a function that gives the status of a row of `show stat`, as HAProxy shows it, with one difference: nothing is
 * `UP` without a passed health check. A server, and a backend with only such servers, is `checking` or `no check` instead.
 * `rows` must hold the servers of each backend, and `others` the servers that these track (`trackedRows`).
 */
export function statusReader(
  rows: readonly StatRow[],
  others: readonly StatRow[] = [],
): (row: StatRow) => string {
  const find = serverFinder([...rows, ...others]);
  let servers: Map<string, StatRow[]> | undefined;
  return (row) => {
    const shown = row.text('status');
    if (row.kind === 'frontend' || row.kind === 'listener') return shown;
    if (row.kind === 'server') return shown.startsWith('UP') ? statusOf(row, find) : shown;
    if (shown !== 'UP') return shown;
    servers ??= groupBy(
      rows.filter(({ kind }) => kind === 'server'),
      ({ proxy }) => proxy,
    );
    return backendStatus(row, servers.get(row.proxy) ?? [], (server) => statusOf(server, find));
  };
}

/** The status of a backend that HAProxy shows as `UP`. HAProxy also shows `UP` for a backend without servers. */
function backendStatus(
  backend: StatRow,
  servers: readonly StatRow[],
  read: (server: StatRow) => string,
): string {
  // A backend of the operator without servers answers with its own rules.
  if (servers.length === 0) return isPoolName(backend.proxy) ? 'DOWN' : 'UP';
  const statuses = new Set(
    servers.filter((server) => server.number('weight') > 0).map((server) => read(server)),
  );
  return ['UP', 'checking', 'no check'].find((status) => statuses.has(status)) ?? 'DOWN';
}
