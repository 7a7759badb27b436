import { AppError } from '../../errors/app-error.js';
import { type HaproxyVersion, isAtLeast, MINIMUM_VERSION, parseVersion } from '../parsers/version.parser.js';
import { ProgramFailure, type ProgramResult, runProgram } from './run-program.js';

export interface CheckResult {
  valid: boolean;
  /** The output of HAProxy, with errors and warnings. */
  output: string;
}

/**
 * No program can check the files here, for example because HAProxy is in another container. Nothing is known about the
 * files; a reload decides.
 */
export class CannotCheckError extends AppError {
  constructor(detail: string, cause: unknown) {
    super('haproxy_unavailable', detail, { cause });
    this.name = 'CannotCheckError';
  }
}

const INSTALL_HINT =
  'Install HAProxy 3.0 or newer (apt install haproxy on Debian 13), or get one with "npm run tools haproxy", and set HAPROXY_BIN to its path.';

/**
 * The version of the binary. Throws if the binary is missing, does not run, or is too old.
 *
 * @throws AppError haproxy_unavailable
 */
export async function requireVersion(binary: string): Promise<HaproxyVersion> {
  const { success, output } = await run(binary, ['-v'], 'The suite cannot use this HAProxy.');
  if (!success)
    throw new AppError(
      'haproxy_unavailable',
      `"${binary} -v" failed: ${output.trim() || 'it printed nothing'}. ${INSTALL_HINT}`,
    );
  if (!/^HAProxy version \d/i.test(output.trim()))
    throw new AppError(
      'haproxy_unavailable',
      `${binary} is not HAProxy: "${binary} -v" printed ${output.trim() === '' ? 'nothing' : JSON.stringify(output.trim().slice(0, 100))}. ${INSTALL_HINT}`,
    );
  const version = parseVersion(output);
  if (!isAtLeast(version, MINIMUM_VERSION.major, MINIMUM_VERSION.minor))
    throw new AppError(
      'haproxy_unavailable',
      `${binary} is HAProxy ${version.text}, but the suite needs ${MINIMUM_VERSION.major}.${MINIMUM_VERSION.minor} or newer. ${INSTALL_HINT}`,
    );
  return version;
}

/**
 * Runs `haproxy -c`, which reads the files like a start, but does not serve requests. Returns `valid: false` for an
 * invalid configuration. Throws if the binary is missing, cannot run or hangs: then nothing is known about the files.
 *
 * @throws AppError haproxy_unavailable
 */
export async function checkConfiguration(binary: string, files: readonly string[]): Promise<CheckResult> {
  const args = ['-c', ...files.flatMap((file) => ['-f', file])];
  const { success, output } = await run(binary, args, 'The suite cannot check the configuration.');
  return { valid: success, output: output.trim() };
}

/** The errors in the output of `haproxy -c`, at most ten lines. All lines if none is marked as an error. */
export function errorLines(output: string): string {
  const lines = output.split('\n').filter((line) => /^\[(?:ALERT|EMERG|ERROR)\]/.test(line));
  const text = (lines.length > 0 ? lines : output.split('\n'))
    .map((line) => line.replace(/^\[\w+\]\s*\(\d+\) : /, ''))
    .filter((line) => line.trim() !== '');
  return text.slice(0, 10).join('\n');
}

/** `consequence` says what does not work without the program. */
async function run(binary: string, args: readonly string[], consequence: string): Promise<ProgramResult> {
  try {
    return await runProgram(binary, args);
  } catch (error) {
    if (!(error instanceof ProgramFailure)) throw error;
    throw new AppError('haproxy_unavailable', `${consequence} ${describeFailure(binary, error)}`, {
      cause: error,
    });
  }
}

function describeFailure(binary: string, { message, reason }: ProgramFailure): string {
  if (reason === 'missing') return `The HAProxy binary ${binary} does not exist. ${INSTALL_HINT}`;
  if (reason === 'cannot_run') return `${message} ${INSTALL_HINT}`;
  return `${message} Run the command by hand to see what it waits for, for example a name server or a disk.`;
}
