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
  /** Only if the server gets no requests because of its health: its srv_check_status and srv_check_result. */
  down?: { checkStatus: number; checkResult: number };
  /** Only if the server has no health check. */
  hasNoCheck?: true;
}

/** One server of a running HAProxy. */
export interface RunningServerRow extends ServerStateRow {
  /** Whether HAProxy can send requests to it, as far as checks decide: false if it is DOWN or stopping. */
  running: boolean;
  /** Whether it has a health check that has not finished yet. */
  unchecked: boolean;
}

/**
 * Bits of srv_admin_state (include/haproxy/server-t.h). 0x04 is not included: it only records that the configuration
 * has `disabled`.
 */
const MAINTENANCE = 0x01 | 0x02 | 0x20 | 0x40;
const DRAIN = 0x08 | 0x10;
/** Values of srv_op_state: 0 stopped (DOWN, or in maintenance), 1 starting (slowstart), 2 running, 3 stopping. */
const STOPPED = 0;
const STARTING = 1;
const RUNNING = 2;
/** Bits of srv_check_state (include/haproxy/check-t.h): the server has a check; the check is enabled. */
const CHECK_CONFIGURED = 0x02;
const CHECK_ENABLED = 0x04;
/** A srv_check_status up to this value means that no check has finished: 0 unknown, 1 initializing, 2 started. */
const CHECK_STARTED = 2;

/**
 * Parses `show servers state` (management guide):
 *
 *   1
 *   # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight …
 *   3 pool_1 1 pool_1_1 10.0.0.1 2 0 1 1 58 1 0 0 2 0 0 0 - 80 - 0 0 - - 0
 *
 * Finds columns by name, because later versions may add columns.
 */
export function parseServersState(text: string): RunningServerRow[] {
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
  const operational = column('srv_op_state');
  const checkState = column('srv_check_state');
  const checkStatus = column('srv_check_status');
  const checkResult = column('srv_check_result');

  const rows: RunningServerRow[] = [];
  for (let index = 2; index < lines.length; index += 1) {
    const line = lines[index];
    if (!line) continue;
    const fields = line.split(' ');
    const row: RunningServerRow = {
      backend: fields[backend] ?? '',
      server: fields[server] ?? '',
      address: fields[address] ?? '',
      port: Number(fields[port]),
      weight: Number(fields[weight]),
      state: stateOf(Number(fields[admin])),
      running: isRunning(Number(fields[operational])),
      unchecked:
        (Number(fields[checkState]) & CHECK_ENABLED) !== 0 && Number(fields[checkStatus]) <= CHECK_STARTED,
    };
    const hostName = fields[fqdn] ?? '-';
    if (hostName !== '-') row.hostName = hostName;
    if ((Number(fields[checkState]) & CHECK_CONFIGURED) === 0) row.hasNoCheck = true;
    else if (Number(fields[operational]) === STOPPED && row.state !== 'maint')
      row.down = { checkStatus: Number(fields[checkStatus]), checkResult: Number(fields[checkResult]) };
    if (fields.length < names.length || !Number.isInteger(row.port) || !Number.isInteger(row.weight))
      throw unexpectedOutput('a line of "show servers state"', line);
    rows.push(row);
  }
  return rows;
}

function isRunning(operational: number): boolean {
  return operational === STARTING || operational === RUNNING;
}

function stateOf(admin: number): ServerState {
  if (!Number.isInteger(admin))
    throw unexpectedOutput('a srv_admin_state of "show servers state"', String(admin));
  if ((admin & MAINTENANCE) !== 0) return 'maint';
  return (admin & DRAIN) === 0 ? 'ready' : 'drain';
}
