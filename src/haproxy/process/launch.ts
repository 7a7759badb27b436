import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../errors/app-error.js';
import { runFiles } from '../../settings/run-files.js';
import type { Settings, SocketAddress } from '../../settings/settings.js';
import { formatAddress } from '../runtime/transport.js';
import { OsProcess } from './os-process.js';
import { configurationFiles } from './start-files.js';

/** A HAProxy that was started. */
export interface LaunchedHaproxy {
  /** The master. */
  process: OsProcess;
  /** Resolves when the process exits; null if a signal ended it. */
  exitCode: Promise<number | null>;
}

/**
 * Starts HAProxy detached, in its own session, so that no signal to the suite and no closed pipe reaches HAProxy.
 * `more` are further arguments. Does not wait until HAProxy is ready.
 *
 * @throws AppError haproxy_unavailable if the binary cannot be started
 */
export async function launchHaproxy(settings: Settings, more: readonly string[]): Promise<LaunchedHaproxy> {
  const { haproxyBin, files, folders, master } = settings;
  const output = openSync(files.haproxyLog, 'a', 0o640);
  const args = [
    '-W',
    // In the foreground also with "daemon" in haproxy.cfg. A HAProxy that detaches has a pid that the suite cannot know.
    '-db',
    '-S',
    masterBind(master),
    '-p',
    runFiles(folders.run).haproxyPid,
    ...configurationFiles(files).flatMap((file) => ['-f', file]),
    ...more,
  ];
  const child = spawn(haproxyBin, args, { detached: true, stdio: ['ignore', output, output] });
  closeSync(output);
  let failure = '';
  child.once('error', (error) => {
    failure = error.message;
  });
  const exitCode = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.unref();
  if (child.pid === undefined) {
    // Node.js emits the error event in a later turn.
    await delay(0);
    throw new AppError(
      'haproxy_unavailable',
      `The suite could not start ${haproxyBin}: ${failure}. Check HAPROXY_BIN.`,
    );
  }
  return { process: new OsProcess(child.pid), exitCode };
}

/** Only this user may open the master socket, because every client of it can stop HAProxy. */
function masterBind(address: SocketAddress): string {
  return 'path' in address ? `${address.path},mode,600` : formatAddress(address);
}
