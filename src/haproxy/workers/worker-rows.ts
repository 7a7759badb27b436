import { canonicalIp, formatHostPort } from '../../model/addresses/ip-address.js';
import { serverName } from '../../model/names/pool-name.js';
import { parseServersState } from '../parsers/server-state.parser.js';
import type { StatRow } from '../parsers/stat.parser.js';
import type { KnownServer, KnownServers, OldWorkerState } from './old-worker.js';

/** The client connections of a worker, from the rows of its frontends. A kept-alive connection without a request counts. */
export function clientsOf(frontends: readonly StatRow[]): number {
  return frontends.reduce((sum, row) => sum + row.number('scur'), 0);
}

/** Reads `show servers state`. */
export function knownServersOf(text: string): KnownServers {
  const known = new Map<string, KnownServer[]>();
  for (const { backend, server, address, port, state } of parseServersState(text)) {
    const key = formatHostPort(canonicalIp(address) ?? address, port);
    const servers = known.get(key);
    const found = { backend, server, usable: state !== 'maint' };
    if (servers) servers.push(found);
    else known.set(key, [found]);
  }
  return known;
}

/** The current sessions of a server in an old worker, by its address; 0 if the worker does not know it. */
export function sessionsAt(
  { servers, rows }: Pick<OldWorkerState, 'servers' | 'rows'>,
  address: string,
): number {
  let sessions = 0;
  for (const { backend, server } of servers.get(address) ?? [])
    for (const row of rows)
      if (row.kind === 'server' && row.proxy === backend && row.service === server)
        sessions += row.number('scur');
  return sessions;
}

/** Values of old workers, to add to those of the current worker. */
export interface OldSessions {
  /** The value of a column of the old rows that mean the same as this row of the current worker. */
  of(row: StatRow, column: 'scur' | 'qcur'): number;
  /** The sessions of a server. */
  ofServer(pool: string, slot: number): number;
}

/**
 * Sums the rows of old workers. A server counts only if it has the same address in both workers: the name of a removed
 * server can have been given to another one.
 */
export function sumOldSessions(current: readonly StatRow[], old: readonly OldWorkerState[]): OldSessions {
  const rowsOf = new Map<string, StatRow[]>();
  for (const row of old.flatMap(({ rows }) => rows)) {
    const key = keyOf(row);
    const same = rowsOf.get(key);
    if (same) same.push(row);
    else rowsOf.set(key, [row]);
  }
  const currentOf = new Map(
    current.filter(({ kind }) => kind === 'server').map((row) => [`${row.proxy}/${row.service}`, row]),
  );
  const of = (row: StatRow, column: 'scur' | 'qcur') =>
    (rowsOf.get(keyOf(row)) ?? []).reduce((sum, other) => sum + other.number(column), 0);
  return {
    of,
    ofServer(pool, slot) {
      const row = currentOf.get(`${pool}/${serverName(pool, slot)}`);
      return row ? of(row, 'scur') : 0;
    },
  };
}

function keyOf(row: StatRow): string {
  const address = row.kind === 'server' ? row.text('addr') : '';
  return `${row.kind} ${row.proxy}/${row.service} ${address}`;
}
