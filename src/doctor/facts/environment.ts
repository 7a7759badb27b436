import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'dotenv';
import { runFiles } from '../../settings/run-files.js';
import { environmentOf, type Unit } from './units.js';

type Env = Readonly<Record<string, string | undefined>>;

interface FoundEnvironment {
  env: Env;
  /** For the report. */
  from: string;
  /** The suite that runs, as its lock file and the process table show it. */
  suitePid?: number;
}

/**
 * The environment with which the suite runs on this host, because a shell does not have the variables of a unit. A running
 * suite is asked first, then the unit, then the given environment. HAPROXY_HOME in the given environment chooses the
 * installation.
 */
export async function findEnvironment(given: Env, suite: Unit | undefined): Promise<FoundEnvironment> {
  const ofUnit = suite?.isLoaded === true ? await environmentOf(suite) : {};
  const chosen = given['HAPROXY_HOME'];
  const home = chosen ?? ofUnit['HAPROXY_HOME'] ?? '/opt/haproxy';
  const suitePid = pidOfSuite(home);
  const own = suitePid === undefined ? undefined : environmentOfProcess(suitePid);
  if (own) return { env: own, from: `the running suite (pid ${suitePid})`, suitePid: suitePid ?? 0 };
  const pid = suitePid === undefined ? {} : { suitePid };
  const isOther = chosen !== undefined && chosen !== (ofUnit['HAPROXY_HOME'] ?? '/opt/haproxy');
  if (suite?.isLoaded === true && !isOther)
    return { env: { ...ofUnit, ...given }, from: `${suite.name} and the environment`, ...pid };
  return { env: given, from: 'the environment', ...pid };
}

/** The suite that the lock file names, if that process is a suite. */
function pidOfSuite(home: string): number | undefined {
  const pid = Number.parseInt(read(runFiles(join(home, 'run')).lock), 10);
  return Number.isInteger(pid) && pid > 0 && isSuite(pid) ? pid : undefined;
}

/** Whether a process with this id runs and looks like a suite: Node.js with a file of the suite. */
export function isSuite(pid: number): boolean {
  const [program = '', ...args] = read(`/proc/${pid}/cmdline`).split('\0');
  return /node|haproxy-suite/.test(program) && args.some((arg) => /main\.js$|haproxy-suite/.test(arg));
}

/** Undefined if this user may not read it. Includes `.env` of its working directory, which the suite reads too. */
function environmentOfProcess(pid: number): Env | undefined {
  const text = read(`/proc/${pid}/environ`);
  if (text === '') return undefined;
  const env: Record<string, string> = {};
  for (const entry of text.split('\0')) {
    const equals = entry.indexOf('=');
    if (equals > 0) env[entry.slice(0, equals)] = entry.slice(equals + 1);
  }
  const folder = workingFolderOf(pid);
  const file = folder === undefined ? '' : read(join(folder, '.env'));
  return { ...parse(file), ...env };
}

export function workingFolderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

/** Empty if the file cannot be read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
