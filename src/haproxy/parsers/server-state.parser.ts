import type { ServerState } from '../../model/server.js';
import { notThis } from './parse-error.js';

/** One server of `show servers state`, with the columns the suite uses. */
export interface ServerStateRow {
  backend: string;
  server: string;
  /** As HAProxy prints it; `-` for a host name that has not resolved. */
  address: string;
  port: number;
  /** 0–256, as set at run time. */
  weight: number;
  state: ServerState;
  /** The host name it was configured with, where it was. */
  hostName?: string;
}

/** The bits of srv_admin_state (include/haproxy/server-t.h): 0x04 only marks what the configuration said. */
const MAINTENANCE = 0x01 | 0x02 | 0x20 | 0x40;
const DRAIN = 0x08 | 0x10;

/**
 *   1
 *   # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight …
 *   3 pool_1 1 pool_1_1 10.0.0.1 2 0 1 1 58 1 0 0 2 0 0 0 - 80 - 0 0 - - 0
 *
 * Columns are found by their names, so that new ones do no harm. (Management guide, "show servers state".)
 */
export function parseServersState(text: string): ServerStateRow[] {
  const lines = text.split('\n');
  const header = lines[1];
  if (lines[0]?.trim() !== '1' || !header?.startsWith('# ')) throw notThis('"show servers state"', text);
  const names = header.slice(2).split(' ');
  const column = (name: string): number => {
    const index = names.indexOf(name);
    if (index < 0) throw notThis(`"show servers state" with a column ${name}`, text);
    return index;
  };
  const backend = column('be_name');
  const server = column('srv_name');
  const address = column('srv_addr');
  const port = column('srv_port');
  const weight = column('srv_uweight');
  const admin = column('srv_admin_state');
  const fqdn = column('srv_fqdn');

  const rows: ServerStateRow[] = [];
  for (let index = 2; index < lines.length; index += 1) {
    const line = lines[index];
    if (!line) continue;
    const fields = line.split(' ');
    const row: ServerStateRow = {
      backend: fields[backend] ?? '',
      server: fields[server] ?? '',
      address: fields[address] ?? '',
      port: Number(fields[port]),
      weight: Number(fields[weight]),
      state: stateOf(Number(fields[admin])),
    };
    const hostName = fields[fqdn] ?? '-';
    if (hostName !== '-') row.hostName = hostName;
    if (fields.length < names.length || !Number.isInteger(row.port) || !Number.isInteger(row.weight))
      throw notThis('a line of "show servers state"', line);
    rows.push(row);
  }
  return rows;
}

function stateOf(admin: number): ServerState {
  if (!Number.isInteger(admin)) throw notThis('a srv_admin_state of "show servers state"', String(admin));
  if ((admin & MAINTENANCE) !== 0) return 'maint';
  return (admin & DRAIN) === 0 ? 'ready' : 'drain';
}
