import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** A process that need not be our child, told from a later one of the same number by its start time. */
export class OsProcess {
  /** In clock ticks since the machine started; undefined where there was no such process. */
  readonly started: string | undefined;

  /** `started` is known where the process was seen before. */
  constructor(
    readonly pid: number,
    started = startOf(pid),
  ) {
    this.started = started;
  }

  /** A zombie, whose parent has not looked yet, is gone as far as serving goes. */
  get alive(): boolean {
    return this.started !== undefined && startOf(this.pid) === this.started;
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.alive) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** True once it is gone; false after that time. */
  async gone(timeLimitMs: number, intervalMs = 20): Promise<boolean> {
    const end = performance.now() + timeLimitMs;
    while (this.alive) {
      if (performance.now() > end) return false;
      await delay(intervalMs);
    }
    return true;
  }
}

/** Field 22 of /proc/PID/stat (proc(5)); the second field is in parentheses and may hold anything. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
