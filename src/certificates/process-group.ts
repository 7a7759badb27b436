import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

/** Enough for any explanation; acme.sh prints the whole certificate at the end. */
const OUTPUT_CHARACTERS = 64 * 1024;

export interface GroupResult {
  /** Null where it was killed. */
  exitCode: number | null;
  /** Standard output and error, as they came, the last part. */
  output: string;
  ended: 'itself' | 'timeout' | 'cancelled';
}

export interface GroupOptions {
  env: Record<string, string>;
  cwd: string;
  timeoutMs: number;
  signal: AbortSignal;
  /** Given to standard input, which is closed then. */
  input?: string;
  onStart?: (pid: number) => void;
  onLine?: (line: string) => void;
}

/**
 * Runs a program as the leader of a process group of its own, so that everything it starts can be ended with it: a
 * script that is killed alone leaves its curl or sleep behind. Resolves however it ends; rejects where it cannot start.
 */
export function runGroup(file: string, args: readonly string[], options: GroupOptions): Promise<GroupResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: options.env, cwd: options.cwd, detached: true, stdio: 'pipe' });
    let output = '';
    let ended: GroupResult['ended'] = 'itself';
    const end = (why: GroupResult['ended']) => {
      ended = why;
      killGroup(child.pid);
    };
    const timer = setTimeout(() => end('timeout'), options.timeoutMs);
    const cancel = () => end('cancelled');
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
    child.once('close', (exitCode) => settle(() => resolve({ exitCode, output, ended })));
    // A program that ends without reading makes the pipe break, which is not an error here.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

export function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself meanwhile.
  }
}

/** Whether a process of this id runs whose arguments mention `text`. */
export async function isRunning(pid: number, text: string): Promise<boolean> {
  const cmdline = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return cmdline.includes(text);
}
