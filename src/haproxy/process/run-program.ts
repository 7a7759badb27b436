import { execFile } from 'node:child_process';

/** The limit for a program. A check of the configuration reads every certificate, which may take several seconds. */
const PROGRAM_LIMIT_MS = 60_000;
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;

/** A program that ended by itself. */
export interface ProgramResult {
  success: boolean;
  exitCode: number;
  /** What the program wrote: stderr, then stdout. */
  output: string;
}

/** A program that did not end by itself: it is missing, does not run, or was ended. `message` is a whole sentence. */
export class ProgramFailure extends Error {
  constructor(
    message: string,
    /** Whether the program can be run at all. */
    readonly reason: 'missing' | 'cannot_run' | 'timeout' | 'ended',
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ProgramFailure';
  }
}

/** Runs a program and returns its output. @throws ProgramFailure */
export function runProgram(
  program: string,
  args: readonly string[],
  limitMs = PROGRAM_LIMIT_MS,
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      // A program that hangs may ignore SIGTERM.
      { timeout: limitMs, maxBuffer: MAX_OUTPUT_BYTES, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        const output = `${stderr}${stdout}`;
        if (!error) resolve({ success: true, exitCode: 0, output });
        else if (typeof error.code === 'number') resolve({ success: false, exitCode: error.code, output });
        else reject(failureOf([program, ...args].join(' '), error, limitMs, output));
      },
    );
  });
}

type ExecError = Error & { code?: unknown; killed?: boolean | undefined; signal?: unknown };

function failureOf(command: string, error: ExecError, limitMs: number, output: string): ProgramFailure {
  const last = output.trim().split('\n').at(-1) ?? '';
  const said = last === '' ? 'It printed nothing.' : `Its last line was: ${last}`;
  if (error.code === 'ENOENT')
    return new ProgramFailure(`The program for "${command}" does not exist.`, 'missing', { cause: error });
  if (typeof error.code === 'string' && error.code !== 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
    return new ProgramFailure(`"${command}" cannot be run: ${error.message}.`, 'cannot_run', {
      cause: error,
    });
  if (error.killed === true && error.code !== 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
    return new ProgramFailure(
      `"${command}" did not finish within ${limitMs / 1000} s, and the suite ended it. ${said}`,
      'timeout',
      { cause: error },
    );
  const why = typeof error.signal === 'string' ? `was ended by ${error.signal}` : 'printed too much';
  return new ProgramFailure(`"${command}" ${why}. ${said}`, 'ended', { cause: error });
}
