import { readFile, stat, utimes } from 'node:fs/promises';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { serverName, slotOf } from '../model/names/pool-name.js';
import { type PoolServers, serverAddress } from '../model/server.js';
import { poolsWithChangedServers } from '../model/change/state-delta.js';
import type { State, StateDelta } from '../model/state.js';

/** A server that is DOWN by its health check. */
export interface DownServer {
  pool: string;
  slot: number;
  ip: string;
  http_port: number;
  /** srv_check_status and srv_check_result of `show servers state`: why the server is DOWN. */
  checkStatus: number;
  checkResult: number;
}

const HEADER =
  '1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord\n';
/** HAProxy may have been without this knowledge for so long that a server that was DOWN is likely to be UP again. */
const MAX_AGE_MS = 60_000;

/**
 * `down-servers.state`: the servers that are DOWN, in the format of `show servers state`. HAProxy reads the file when it
 * starts or reloads (`server-state-file` in pools.cfg), and sends these servers no request before their health check
 * passes. A server without a row starts UP.
 *
 * HAProxy finds a row by the names of the backend and the server, and takes the port from the row. So a row must be gone
 * before pools.cfg gives the slot to another address: `forget`. The columns of the weight and the state have no effect:
 * equal weights mean "as in the configuration". Columns after `srvrecord` are optional, and would overwrite `ssl`.
 */
export class DownServersFile {
  #rows = new Map<string, DownServer>();

  constructor(private readonly path: string) {}

  /**
   * Reads the file, and keeps only the rows of servers that `state` has with the same address. Creates the file if it is
   * missing, because HAProxy reports a missing file at each start.
   *
   * @throws the error of the file system
   */
  async open(state: State | undefined): Promise<void> {
    const text = await readFile(this.path, 'utf8').catch(() => '');
    const rows = parseRows(text).filter((row) => state && isCurrent(row, state));
    const age = await stat(this.path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    this.#rows = byName(state && age > MAX_AGE_MS ? withoutWholePools(rows, state) : rows);
    const wanted = render(this.#rows.values());
    if (text !== wanted) await writeFileAtomic(this.path, wanted);
  }

  /** Whether `write` with these servers would change the file. */
  differsFrom(servers: readonly DownServer[]): boolean {
    return render(servers) !== render(this.#rows.values());
  }

  /**
   * Replaces the rows. Call it while no change is under way, with servers that have the address of the saved state.
   *
   * @throws the error of the file system
   */
  async write(servers: readonly DownServer[]): Promise<void> {
    if (!this.differsFrom(servers)) return;
    await writeFileAtomic(this.path, render(servers));
    this.#rows = byName(servers);
  }

  /** Records that the rows are true now. Does nothing if the file is missing. */
  async confirm(): Promise<void> {
    if (this.#rows.size > 0) await utimes(this.path, new Date(), new Date()).catch(() => undefined);
  }

  /**
   * Deletes the rows of pools that have no other server. Call it when no suite updates the file any more: such a pool would
   * answer 503 after a later start of HAProxy until the check passes, although its server may be UP.
   */
  async forgetWholePools(state: State): Promise<void> {
    await this.write(withoutWholePools([...this.#rows.values()], state));
  }

  /**
   * Deletes the rows of servers that `delta` removes or gives another address, before pools.cfg changes. Writes nothing
   * if there is no such row.
   *
   * @throws the error of the file system
   */
  async forget(delta: StateDelta, before: State): Promise<void> {
    if (this.#rows.size === 0) return;
    const gone = new Set<string>();
    for (const pool of poolsWithChangedServers(delta, before)) {
      const servers = delta.pools.get(pool)?.servers;
      for (const slot of before.pool(pool)?.servers.keys() ?? []) {
        const name = serverName(pool, slot);
        const row = this.#rows.get(name);
        if (row && !hasAddress(servers, row)) gone.add(name);
      }
    }
    if (gone.size === 0) return;
    const kept = [...this.#rows].filter(([name]) => !gone.has(name)).map(([, row]) => row);
    await this.write(kept);
  }
}

function isCurrent(row: DownServer, state: State): boolean {
  return hasAddress(state.pool(row.pool)?.servers, row);
}

function hasAddress(servers: PoolServers | undefined, row: DownServer): boolean {
  const server = servers?.get(row.slot);
  return server !== undefined && serverAddress(server) === serverAddress(row);
}

/** The rows of pools that have at least one server without a row. */
function withoutWholePools(rows: readonly DownServer[], state: State): DownServer[] {
  const down = byName(rows);
  return rows.filter(({ pool }) =>
    [...(state.pool(pool)?.servers ?? [])].some(
      ([slot, { state: wanted }]) => wanted === 'ready' && !down.has(serverName(pool, slot)),
    ),
  );
}

function byName(rows: readonly DownServer[]): Map<string, DownServer> {
  return new Map(rows.map((row) => [serverName(row.pool, row.slot), row]));
}

function render(rows: Iterable<DownServer>): string {
  let text = HEADER;
  for (const { pool, slot, ip, http_port: port, checkStatus, checkResult } of rows)
    text += `0 ${pool} 0 ${serverName(pool, slot)} ${ip} 0 0 1 1 0 ${checkStatus} ${checkResult} 0 6 0 0 0 - ${port} -\n`;
  return text;
}

function parseRows(text: string): DownServer[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.split(' ');
    const [pool = '', name = '', ip = ''] = [fields[1], fields[3], fields[4]];
    const slot = slotOf(pool, name);
    const [port, checkStatus, checkResult] = [fields[18], fields[10], fields[11]].map(Number);
    return slot === undefined || fields.length !== 20
      ? []
      : [
          {
            pool,
            slot,
            ip,
            http_port: port ?? 0,
            checkStatus: checkStatus ?? 0,
            checkResult: checkResult ?? 0,
          },
        ];
  });
}
