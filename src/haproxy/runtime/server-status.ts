import { isPoolName, slotOf } from '../../model/pool-name.js';
import type { StatRow } from '../parsers/stat.parser.js';

export type ServerStatus = 'UP' | 'DOWN' | 'DRAIN' | 'MAINT' | 'no check';

export interface ServerStatusRow {
  pool: string;
  slot: number;
  status: ServerStatus;
  /** Sessions it has now. */
  connections: number;
  /** What the last check found, for people: `Layer4 connection problem: Connection refused`. Empty before the first. */
  readonly lastCheck: string;
}

/**
 * HAProxy's status column says more than the state: `UP 1/3` is up and failing checks, `DOWN 1/2` down and passing
 * them, `NOLB` up with no requests given to it, `MAINT (via pool_1/x)` follows another server.
 */
export function statusOf(words: string): ServerStatus {
  if (words === 'no check') return 'no check';
  switch (words.split(' ', 1)[0]) {
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

/** The suite's servers among the lines of `show stat`, or those of one status. */
export function statusRows(rows: readonly StatRow[], only?: ServerStatus): ServerStatusRow[] {
  const found: ServerStatusRow[] = [];
  for (const row of rows) {
    const pool = row.proxy;
    if (row.kind !== 'server' || !isPoolName(pool)) continue;
    const slot = slotOf(pool, row.service);
    if (slot === undefined) continue;
    const status = statusOf(row.text('status'));
    if (only !== undefined && status !== only) continue;
    found.push({
      pool,
      slot,
      status,
      connections: row.number('scur'),
      get lastCheck() {
        return [row.text('check_desc'), row.text('last_chk')].filter((words) => words !== '').join(': ');
      },
    });
  }
  return found;
}
