import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

/** More than any error message needs. acme.sh prints the whole certificate at the end. */
const OUTPUT_CHARACTERS = 64 * 1024;

export interface ProcessGroupResult {
  /** Null if the process was killed. */
  exitCode: number | null;
  /** The last 64 K characters of standard output and standard error, in the order of arrival. */
  output: string;
  end: 'exited' | 'timeout' | 'cancelled';
}

interface ProcessGroupOptions {
  env: Record<string, string>;
  cwd: string;
  timeoutMs: number;
  signal: AbortSignal;
  /** Written to standard input, which is then closed. */
  input?: string;
  onStart?: (pid: number) => void;
  onLine?: (line: string) => void;
}

/**
 * Runs a program as the leader of its own process group. A time-out or an abort kills the whole group, because a
 * script that is killed alone leaves its children (curl, sleep) running.
 *
 * @throws the error of `spawn` if the program cannot be started
 */
export function runProcessGroup(
  file: string,
  args: readonly string[],
  options: ProcessGroupOptions,
): Promise<ProcessGroupResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: options.env, cwd: options.cwd, detached: true, stdio: 'pipe' });
    let output = '';
    let end: ProcessGroupResult['end'] = 'exited';
    const kill = (reason: ProcessGroupResult['end']) => {
      end = reason;
      killProcessGroup(child.pid);
    };
    const timer = setTimeout(() => kill('timeout'), options.timeoutMs);
    const cancel = () => kill('cancelled');
    options.signal.addEventListener('abort', cancel);
    for (const stream of [child.stdout, child.stderr])
      createInterface(stream).on('line', (line) => {
        output = `${output}${line}\n`.slice(-OUTPUT_CHARACTERS);
        options.onLine?.(line);
      });
    const settle = (finish: () => void) => {
      clearTimeout(timer);
      options.signal.removeEventListener('abort', cancel);
      finish();
    };
    child.once('spawn', () => {
      options.onStart?.(child.pid ?? 0);
      if (options.signal.aborted) cancel();
    });
    child.once('error', (error) => settle(() => reject(error)));
    child.once('close', (exitCode) => settle(() => resolve({ exitCode, output, end })));
    // The pipe breaks if the program exits without reading its input. That is not an error.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

export function killProcessGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The process group has already exited.
  }
}

/** Whether a process with this id runs and `text` is part of its arguments. */
export async function isRunning(pid: number, text: string): Promise<boolean> {
  const cmdline = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return cmdline.includes(text);
}
