import { isPoolName, slotOf } from '../../model/pool-name.js';
import type { StatRow } from '../parsers/stat.parser.js';

export type ServerStatus = 'UP' | 'DOWN' | 'DRAIN' | 'MAINT' | 'no check';

export interface ServerStatusRow {
  pool: string;
  slot: number;
  status: ServerStatus;
  /** The number of current sessions. */
  connections: number;
  /** The result of the last health check: `Layer4 connection problem: Connection refused`. Empty before the first check. */
  readonly lastCheck: string;
}

/**
 * The status in the `status` column of `show stat`. The column holds more: `UP 1/3` is up with failing checks,
 * `DOWN 1/2` is down with passing checks, `NOLB` is up but gets no new requests, `MAINT (via pool_1/x)` tracks
 * another server.
 */
export function statusOf(column: string): ServerStatus {
  if (column === 'no check') return 'no check';
  switch (column.split(' ', 1)[0]) {
    case 'UP':
      return 'UP';
    case 'DRAIN':
    case 'NOLB':
      return 'DRAIN';
    case 'MAINT':
      return 'MAINT';
    default:
      return 'DOWN';
  }
}

/** The status of the suite's servers in `show stat`; with `wanted`, only the servers that have this status. */
export function statusRows(rows: readonly StatRow[], wanted?: ServerStatus): ServerStatusRow[] {
  const found: ServerStatusRow[] = [];
  for (const row of rows) {
    const pool = row.proxy;
    if (row.kind !== 'server' || !isPoolName(pool)) continue;
    const slot = slotOf(pool, row.service);
    if (slot === undefined) continue;
    const status = statusOf(row.text('status'));
    if (wanted !== undefined && status !== wanted) continue;
    found.push({
      pool,
      slot,
      status,
      connections: row.number('scur'),
      get lastCheck() {
        return [row.text('check_desc'), row.text('last_chk')].filter((text) => text !== '').join(': ');
      },
    });
  }
  return found;
}
