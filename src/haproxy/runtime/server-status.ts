import { isPoolName, slotOf } from '../../model/names/pool-name.js';
import type { StatRow } from '../parsers/stat.parser.js';

/**
 * `UP`: the last health check passed. `checking`: HAProxy sends requests to the server, but no check has passed since
 * HAProxy began to use it, or its last check failed and HAProxy checks again. `no check`: HAProxy never checks it.
 */
export type ServerStatus = 'UP' | 'checking' | 'DOWN' | 'DRAIN' | 'MAINT' | 'no check';

export interface ServerStatusRow {
  pool: string;
  slot: number;
  status: ServerStatus;
  /** The share of the requests that the server gets now; 0: none. */
  weight: number;
  /** The number of current sessions. */
  connections: number;
  /** The result of the last health check: `Layer4 connection problem: Connection refused`. Empty before the first check. */
  readonly lastCheck: string;
}

/** Finds the row of a server in `show stat` by its name there: `backend/server`. */
type FindServer = (name: string) => StatRow | undefined;

/** How many servers can track each other in a chain. A longer chain counts as unchecked. */
const MAX_TRACKED = 8;

/**
 * The status of a server in `show stat`. The `status` column holds more: `UP 1/3` is up with failing checks,
 * `DOWN 1/2` is down with passing checks, `NOLB` is up but gets no new requests, `MAINT (via pool_1/x)` tracks
 * another server. `find` is needed only for servers that track another server.
 */
export function statusOf(row: StatRow, find: FindServer = () => undefined): ServerStatus {
  const column = row.text('status');
  if (column === 'no check') return 'no check';
  switch (column.split(' ', 1)[0]) {
    case 'UP':
      return column === 'UP' && hasPassed(checkedServer(row, find)) ? 'UP' : 'checking';
    case 'DRAIN':
    case 'NOLB':
      return 'DRAIN';
    case 'MAINT':
      return 'MAINT';
    default:
      return 'DOWN';
  }
}

/** Whether HAProxy routes no request to this backend: `unpublish backend` (3.4), or `add backend` without `publish`. */
export function isUnpublished(backend: StatRow): boolean {
  return backend.text('status').includes('(UNPUB)');
}

/** Why visitors do not reach a pool that is not published (HAProxy 3.4), and what to do. */
export function unpublishedReason(pool: string): string {
  return `HAProxy routes no request to ${pool} ("unpublish backend"), and visitors get the answer for unknown hosts. Use {haproxy_reload}, or "publish backend ${pool}" on the Runtime API.`;
}

/** Whether HAProxy sends requests to a server with this status and weight. */
export function isUsed(status: string, weight: number): boolean {
  return weight > 0 && (status === 'UP' || status === 'checking' || status === 'no check');
}

/**
 * Whether the last check that finished has passed. `check_status` is INI until a check has finished, begins with `* ` while
 * a check runs, and then still has the result of the check before: `* L4OK`. A server that leaves maintenance keeps its
 * former result, but its status is `UP 1/3` until a check passes.
 */
function hasPassed(row: StatRow | undefined): boolean {
  return /^(?:\* )?(?:L4OK|L6OK|L7OKC?|PROCOK)$/.test(row?.text('check_status') ?? '');
}

/** The server whose checks decide: the server itself, or the last one in its chain of `track`. */
function checkedServer(row: StatRow, find: FindServer): StatRow | undefined {
  let checked: StatRow | undefined = row;
  for (let followed = 0; followed < MAX_TRACKED; followed += 1) {
    const tracked: string = checked?.text('tracked') ?? '';
    if (tracked === '') return checked;
    checked = find(tracked);
  }
  return undefined;
}

/** The backends of tracked servers that these rows do not include. */
export function trackedBackends(rows: readonly StatRow[]): string[] {
  const present = new Set(rows.map((row) => row.proxy));
  const missing = new Set<string>();
  for (const row of rows) {
    const tracked = row.kind === 'server' ? row.text('tracked') : '';
    const backend = tracked.slice(0, tracked.lastIndexOf('/'));
    if (tracked !== '' && !present.has(backend)) missing.add(backend);
  }
  return [...missing];
}

/** Finds servers in these rows. Builds its index at the first call, because few servers track another one. */
export function serverFinder(rows: readonly StatRow[]): FindServer {
  let index: Map<string, StatRow> | undefined;
  return (name) => {
    index ??= new Map(
      rows.filter((row) => row.kind === 'server').map((row) => [`${row.proxy}/${row.service}`, row]),
    );
    return index.get(name);
  };
}

/**
 * The status of the suite's servers in `show stat`; with `wanted`, only the servers that have this status. `others` are
 * further rows, in which tracked servers are found.
 */
export function statusRows(
  rows: readonly StatRow[],
  wanted?: ServerStatus,
  others: readonly StatRow[] = [],
): ServerStatusRow[] {
  const found: ServerStatusRow[] = [];
  const find = serverFinder(others.length === 0 ? rows : [...rows, ...others]);
  for (const row of rows) {
    const pool = row.proxy;
    if (row.kind !== 'server' || !isPoolName(pool)) continue;
    const slot = slotOf(pool, row.service);
    if (slot === undefined) continue;
    const status = statusOf(row, find);
    if (wanted !== undefined && status !== wanted) continue;
    found.push({
      pool,
      slot,
      status,
      weight: row.number('weight'),
      connections: row.number('scur'),
      get lastCheck() {
        return lastCheckOf(row);
      },
    });
  }
  return found;
}

/** The result of the last health check. Empty before the first check, and for a server without a check. */
export function lastCheckOf(row: StatRow): string {
  if (/^(?:\* )?(?:INI|UNK)$/.test(row.text('check_status'))) return '';
  return [row.text('check_desc'), row.text('last_chk')].filter((text) => text !== '').join(': ');
}
