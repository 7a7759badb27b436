import { execFile } from 'node:child_process';
import { AppError } from '../../errors/app-error.js';
import { type HaproxyVersion, isAtLeast, MINIMUM_VERSION, parseVersion } from '../parsers/version.parser.js';

export interface CheckResult {
  valid: boolean;
  /** The output of HAProxy, with errors and warnings. */
  output: string;
}

/** A check reads every certificate, which may take several seconds. */
const CHECK_LIMIT_MS = 60_000;
const INSTALL_HINT =
  'Install HAProxy 3.0 or newer (apt install haproxy on Debian 13), or get one with "npm run tools haproxy", and set HAPROXY_BIN to its path.';

/**
 * The version of the binary. Throws if the binary is missing, does not run, or is too old.
 *
 * @throws AppError haproxy_unavailable
 */
export async function requireVersion(binary: string): Promise<HaproxyVersion> {
  const { output, error } = await run(binary, ['-v']);
  if (error?.code === 'ENOENT')
    throw new AppError('haproxy_unavailable', `The HAProxy binary ${binary} does not exist. ${INSTALL_HINT}`);
  if (error)
    throw new AppError(
      'haproxy_unavailable',
      `${binary} -v failed: ${error.message.trim()}. ${INSTALL_HINT}`,
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
 * invalid configuration. Throws only if the binary is missing.
 *
 * @throws AppError haproxy_unavailable
 */
export async function checkConfiguration(binary: string, files: readonly string[]): Promise<CheckResult> {
  const { output, error } = await run(binary, ['-c', ...files.flatMap((file) => ['-f', file])]);
  if (error?.code === 'ENOENT')
    throw new AppError(
      'haproxy_unavailable',
      `The suite cannot check the configuration: the HAProxy binary ${binary} does not exist. ${INSTALL_HINT}`,
    );
  return { valid: !error, output: output.trim() };
}

/** The errors in the output of `haproxy -c`, at most ten lines. All lines if none is marked as an error. */
export function errorLines(output: string): string {
  const lines = output.split('\n').filter((line) => /^\[(?:ALERT|EMERG|ERROR)\]/.test(line));
  const text = (lines.length > 0 ? lines : output.split('\n'))
    .map((line) => line.replace(/^\[\w+\]\s*\(\d+\) : /, ''))
    .filter((line) => line.trim() !== '');
  return text.slice(0, 10).join('\n');
}

interface RunResult {
  output: string;
  error: (Error & { code?: string | number | null }) | undefined;
}

function run(binary: string, args: readonly string[]): Promise<RunResult> {
  return new Promise((resolve) => {
    execFile(
      binary,
      args,
      { timeout: CHECK_LIMIT_MS, maxBuffer: 8 * 1024 * 1024 },
      (error, stdout, stderr) => {
        resolve({ output: `${stderr}${stdout}`, error: error ?? undefined });
      },
    );
  });
}
