import { appendFileSync, existsSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from '../../settings/settings.js';
import { checkConfiguration } from './haproxy-binary.js';
import type { MasterCli } from './master-cli.js';
import type { OsProcess } from './os-process.js';

/**
 * Lets the running HAProxy offer its listening sockets to the next one, and returns the socket for the argument `-x`.
 *
 * Without the argument, the next HAProxy opens sockets of its own on the same ports (SO_REUSEPORT), and the kernel resets
 * or refuses connections that wait in the former sockets when these are closed. Measured: one failed request in 25 to 100
 * replacements at 50 new connections a second, and none with `-x` (management guide, "-x").
 *
 * A HAProxy offers its sockets only with `expose-fd listeners`, which the haproxy.cfg of version 0.1 does not have. The
 * suite owns pools.cfg, so it adds the line there for one reload, and a reload itself passes the sockets on. Returns
 * undefined if this HAProxy cannot be reloaded with the files as they are, or if its program was deleted. Call it while no change is under way.
 */
export async function offerListeners(
  { haproxyBin, files: { config, pools }, folders }: Settings,
  master: MasterCli,
  running: OsProcess,
): Promise<string | undefined> {
  // A reload starts the program of the master again. If it is gone, the reload ends the master CLI (3.0 to 3.4).
  if (!running.hasProgram) return undefined;
  const socket = join(folders.run, 'listeners.sock');
  const lines = Buffer.from(
    `\nglobal\n    stats socket ${socket} mode 600 level admin expose-fd listeners\n`,
  );
  rmSync(socket, { force: true });
  // Not a new file in its place: pools.cfg can be a link or a bind mount.
  appendFileSync(pools, lines);
  try {
    // A reload that HAProxy refuses would leave its master without a current worker.
    if (!(await checkConfiguration(haproxyBin, [config, pools])).valid) return undefined;
    const { success } = await master.reload();
    // With "unix-bind prefix" in haproxy.cfg the socket has another path.
    return success && existsSync(socket) ? socket : undefined;
  } finally {
    const text = readFileSync(pools);
    const end = text.length - lines.length;
    if (text.subarray(end).equals(lines)) truncateSync(pools, end);
  }
}
