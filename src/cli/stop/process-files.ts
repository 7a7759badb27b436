import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormerMasters } from '../../haproxy/process/former-masters.js';
import { OsProcess } from '../../haproxy/process/os-process.js';
import { PidFile } from '../../haproxy/process/pid-file.js';

/** How long HAProxy may finish its connections, as when the suite stops it, and how long it may take to end then. */
const GRACE_MS = 10_000;
const TERM_MS = 2_000;
/** Longer than a shutdown of the suite may take. */
const SUITE_MS = 45_000;

/** The processes that the files in the run folder of a suite name, and that still run. */
export interface OwnProcesses {
  suite: OsProcess | undefined;
  /** The HAProxies that the suite started. */
  haproxies: readonly OsProcess[];
}

/** Reads the process files. A pid that now belongs to another program is left out. */
export function readProcesses(home: string): OwnProcesses {
  const run = join(home, 'run');
  const launched = new PidFile(join(run, 'haproxy.launched')).read();
  const written = [launched, ...new FormerMasters(run).alive(), haproxyOf(join(run, 'haproxy.pid'), home)];
  const byPid = new Map(written.flatMap((one) => (one?.alive === true ? [[one.pid, one] as const] : [])));
  return { suite: suiteOf(join(run, 'suite.lock')), haproxies: [...byPid.values()] };
}

/** @returns the processes that were ended. @throws Error if one still runs */
export async function stopHaproxyOfSuite(home: string): Promise<OsProcess[]> {
  const { haproxies } = readProcesses(home);
  await Promise.all(haproxies.map(stopHaproxy));
  return [...haproxies];
}

export async function stopSuite(suite: OsProcess): Promise<void> {
  suite.signal('SIGTERM');
  if (!(await suite.waitForExit(SUITE_MS)))
    throw new Error(
      `The suite (pid ${suite.pid}) still runs ${SUITE_MS / 1000} s after SIGTERM. End it with: kill -9 ${suite.pid}`,
    );
}

/** SIGUSR1 lets HAProxy finish its connections, SIGTERM closes them (management guide, section 4). */
async function stopHaproxy(haproxy: OsProcess): Promise<void> {
  haproxy.signal('SIGUSR1');
  if (await haproxy.waitForExit(GRACE_MS)) return;
  haproxy.signal('SIGTERM');
  if (await haproxy.waitForExit(TERM_MS)) return;
  haproxy.signal('SIGKILL');
  if (!(await haproxy.waitForExit(TERM_MS)))
    throw new Error(`HAProxy (pid ${haproxy.pid}) still runs. End it with: kill -9 ${haproxy.pid}`);
}

/** The pid file of HAProxy has no start time, so the command line must name the files of this suite. */
function haproxyOf(path: string, home: string): OsProcess | undefined {
  return processOf(path, (command) => command.includes(`${home}/conf/`) || command.includes(`${home}/run/`));
}

function suiteOf(path: string): OsProcess | undefined {
  return processOf(path, (command) => /\bmain\.m?js\b|haproxy-suite/.test(command));
}

function processOf(path: string, isOurs: (command: string) => boolean): OsProcess | undefined {
  const [pid] = /^[1-9]\d*/.exec(read(path)) ?? [];
  if (pid === undefined || !isOurs(read(`/proc/${pid}/cmdline`).replaceAll('\0', ' '))) return undefined;
  const found = new OsProcess(Number(pid));
  return found.alive ? found : undefined;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
