import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * A process that does not have to be a child of this process. Its start time distinguishes it from a later process with
 * the same pid.
 */
export class OsProcess {
  /** The start time in clock ticks since the machine started; undefined if there was no such process. */
  readonly started: string | undefined;

  /** Pass `started` if it is known from an earlier moment; by default it is read from /proc. */
  constructor(
    readonly pid: number,
    started = startTimeOf(pid),
  ) {
    this.started = started;
  }

  /** False also for a zombie: it has exited, and only its parent has not read its exit status yet. */
  get alive(): boolean {
    return this.started !== undefined && startTimeOf(this.pid) === this.started;
  }

  /** False if the program file that the process was started with was deleted, for example by an upgrade. */
  get hasProgram(): boolean {
    try {
      const [program = ''] = readFileSync(`/proc/${this.pid}/cmdline`, 'utf8').split('\0');
      // A name without a path is found through PATH again.
      return !program.startsWith('/') || existsSync(program);
    } catch {
      return false;
    }
  }

  /** Sends a signal; does nothing if the process has exited. */
  signal(signal: NodeJS.Signals): void {
    if (!this.alive) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Waits until the process has exited. False if it still runs after `timeLimitMs`. */
  async waitForExit(timeLimitMs: number, intervalMs = 20): Promise<boolean> {
    const deadline = performance.now() + timeLimitMs;
    while (this.alive) {
      if (performance.now() > deadline) return false;
      await delay(intervalMs);
    }
    return true;
  }
}

/** Whether there is a process with this pid, also one of another user that /proc hides (proc(5), `hidepid`). */
export function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** The name of a program that runs (proc_pid_comm(5)). */
export function nameOfProcess(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() || 'a program';
  } catch {
    return 'a program';
  }
}

/** The pid of the parent of a process that runs; undefined if there is no such process, or if it is a zombie. */
export function parentOf(pid: number): number | undefined {
  const parent = fieldsOf(pid)?.parent;
  return parent === undefined ? undefined : Number(parent);
}

/**
 * Whether a master and its worker have the pids of another PID namespace, so HAProxy is in another container. Then the worker
 * has another parent here, or there is no process with its pid. False if /proc hides the worker.
 */
export function areOfOtherNamespace({ master, worker }: { master: number; worker: number }): boolean {
  const parent = parentOf(worker);
  return parent === undefined ? !processExists(worker) : parent !== master;
}

function startTimeOf(pid: number): string | undefined {
  return fieldsOf(pid)?.started;
}

/**
 * Fields 4 and 22 of /proc/PID/stat (proc(5)), or undefined if the process does not run. The second field, the name in
 * parentheses, may contain any character, so the fields are counted from the last parenthesis.
 */
function fieldsOf(pid: number): { parent: string | undefined; started: string | undefined } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : { parent: fields[1], started: fields[19] };
  } catch {
    return undefined;
  }
}
