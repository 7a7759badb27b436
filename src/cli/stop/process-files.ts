import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FormerMasters } from '../../haproxy/process/former-masters.js';
import { OsProcess } from '../../haproxy/process/os-process.js';
import { PidFile } from '../../haproxy/process/pid-file.js';
import { stopHaproxy } from '../../haproxy/process/stop-haproxy.js';
import { runFiles } from '../../settings/run-files.js';

/** Longer than a shutdown of the suite may take. */
const SUITE_MS = 45_000;

/** The processes that the files in the run folder of a suite name, and that still run. */
export interface OwnProcesses {
  suite: OsProcess | undefined;
  /** The HAProxies that the suite started. */
  haproxies: readonly OsProcess[];
}

/**
 * Reads the process files, which the owner of the run folder can write, and root may be the reader. So a process counts
 * only if it runs as that owner, with the start time in the file, and HAProxy only if it was started with the pid file of
 * this folder.
 */
export function readProcesses(home: string): OwnProcesses {
  const run = join(home, 'run');
  const isOwn = ({ pid }: OsProcess) => ownerOf(`/proc/${pid}`) === ownerOf(run);
  const { haproxyPid: pidFile, launched, lock } = runFiles(run);
  const isHaproxy = ({ pid }: OsProcess) => argumentsOf(pid).includes(` -p ${pidFile} `);
  const written = [new PidFile(launched).read(), ...new FormerMasters(run).alive(), masterOf(pidFile)];
  const haproxies = written
    .filter((one) => one !== undefined)
    .filter((one) => one.alive && isOwn(one) && isHaproxy(one));
  const suite = new PidFile(lock).read();
  return {
    suite: suite && isOwn(suite) ? suite : undefined,
    haproxies: [...new Map(haproxies.map((one) => [one.pid, one])).values()],
  };
}

/** @returns the processes that were ended. @throws Error if one still runs */
export async function stopHaproxyOfSuite(home: string): Promise<OsProcess[]> {
  const { haproxies } = readProcesses(home);
  await Promise.all(haproxies.map(end));
  return [...haproxies];
}

export async function stopSuite(suite: OsProcess): Promise<void> {
  suite.signal('SIGTERM');
  if (!(await suite.waitForExit(SUITE_MS)))
    throw new Error(
      `The suite (pid ${suite.pid}) still runs ${SUITE_MS / 1000} s after SIGTERM. End it with: kill -9 ${suite.pid}`,
    );
}

async function end(haproxy: OsProcess): Promise<void> {
  if (!(await stopHaproxy(haproxy)))
    throw new Error(`HAProxy (pid ${haproxy.pid}) still runs. End it with: kill -9 ${haproxy.pid}`);
}

/** HAProxy writes its pid without a start time. */
function masterOf(pidFile: string): OsProcess | undefined {
  const [pid] = /^[1-9]\d*/.exec(read(pidFile)) ?? [];
  return pid === undefined ? undefined : new OsProcess(Number(pid));
}

function argumentsOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
}

/** The user of a process or of a folder; undefined if there is none. */
function ownerOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.uid;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
