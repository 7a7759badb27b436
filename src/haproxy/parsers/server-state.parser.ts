import type { ServerState } from '../../model/server.js';
import { unexpectedOutput } from './parse-error.js';

/** One server of `show servers state`, with the columns that the suite uses. */
export interface ServerStateRow {
  backend: string;
  server: string;
  /** As HAProxy prints it; `-` if the host name of the server is not resolved. */
  address: string;
  port: number;
  /** The current weight, 0 to 256. */
  weight: number;
  state: ServerState;
  /** Only if the server is configured with a host name. */
  hostName?: string;
  /** True if the connections to the server use TLS; otherwise absent. */
  tls?: true;
}

/**
 * Bits of srv_admin_state (include/haproxy/server-t.h). 0x04 is not included: it only records that the configuration
 * has `disabled`.
 */
const MAINTENANCE = 0x01 | 0x02 | 0x20 | 0x40;
const DRAIN = 0x08 | 0x10;

/**
 * Parses `show servers state` (management guide):
 *
 *   1
 *   # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight …
 *   3 pool_1 1 pool_1_1 10.0.0.1 2 0 1 1 58 1 0 0 2 0 0 0 - 80 - 0 0 - - 0
 *
 * Finds columns by name, because later versions may add columns.
 */
export function parseServersState(text: string): ServerStateRow[] {
  const lines = text.split('\n');
  const header = lines[1];
  if (lines[0]?.trim() !== '1' || !header?.startsWith('# '))
    throw unexpectedOutput('the output of "show servers state"', text);
  const names = header.slice(2).split(' ');
  const column = (name: string): number => {
    const index = names.indexOf(name);
    if (index < 0) throw unexpectedOutput(`the output of "show servers state" with a column ${name}`, text);
    return index;
  };
  const backend = column('be_name');
  const server = column('srv_name');
  const address = column('srv_addr');
  const port = column('srv_port');
  const weight = column('srv_uweight');
  const admin = column('srv_admin_state');
  const fqdn = column('srv_fqdn');
  const tls = column('srv_use_ssl');

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
    if (fields[tls] === '1') row.tls = true;
    if (fields.length < names.length || !Number.isInteger(row.port) || !Number.isInteger(row.weight))
      throw unexpectedOutput('a line of "show servers state"', line);
    rows.push(row);
  }
  return rows;
}

function stateOf(admin: number): ServerState {
  if (!Number.isInteger(admin))
    throw unexpectedOutput('a srv_admin_state of "show servers state"', String(admin));
  if ((admin & MAINTENANCE) !== 0) return 'maint';
  return (admin & DRAIN) === 0 ? 'ready' : 'drain';
}
