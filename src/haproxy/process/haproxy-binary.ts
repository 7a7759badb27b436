import { execFile } from 'node:child_process';
import { AppError } from '../../errors/app-error.js';
import { type HaproxyVersion, isAtLeast, MINIMUM_VERSION, parseVersion } from '../parsers/version.parser.js';

export interface CheckResult {
  valid: boolean;
  /** What HAProxy printed, warnings included. */
  output: string;
}

/** A check reads every certificate, so that it may take seconds. */
const CHECK_LIMIT_MS = 60_000;
const HOW_TO_GET_ONE =
  'Install HAProxy 3.0 or newer (apt install haproxy on Debian 13), or get one with "npm run tools haproxy", and set HAPROXY_BIN to its path.';

/** @throws AppError haproxy_unavailable when it is missing, cannot be run, or is too old */
export async function requireVersion(binary: string): Promise<HaproxyVersion> {
  const { output, error } = await run(binary, ['-v']);
  if (error?.code === 'ENOENT')
    throw new AppError('haproxy_unavailable', `There is no HAProxy binary ${binary}. ${HOW_TO_GET_ONE}`);
  if (error)
    throw new AppError(
      'haproxy_unavailable',
      `${binary} -v failed: ${error.message.trim()}. ${HOW_TO_GET_ONE}`,
    );
  const version = parseVersion(output);
  if (!isAtLeast(version, MINIMUM_VERSION.major, MINIMUM_VERSION.minor))
    throw new AppError(
      'haproxy_unavailable',
      `${binary} is HAProxy ${version.text}; the suite needs ${MINIMUM_VERSION.major}.${MINIMUM_VERSION.minor} or newer. ${HOW_TO_GET_ONE}`,
    );
  return version;
}

/** `haproxy -c`: reads the files as a start would, and serves nothing. */
export async function checkConfiguration(binary: string, files: readonly string[]): Promise<CheckResult> {
  const { output, error } = await run(binary, ['-c', ...files.flatMap((file) => ['-f', file])]);
  if (error?.code === 'ENOENT')
    throw new AppError(
      'haproxy_unavailable',
      `There is no HAProxy binary ${binary} to check with. ${HOW_TO_GET_ONE}`,
    );
  return { valid: !error, output: output.trim() };
}

/** The lines that say what is wrong, without the notices about versions and paths. */
export function complaintsOf(output: string): string {
  const lines = output.split('\n').filter((line) => /^\[(?:ALERT|EMERG|ERROR)\]/.test(line));
  const text = (lines.length > 0 ? lines : output.split('\n'))
    .map((line) => line.replace(/^\[\w+\]\s*\(\d+\) : /, ''))
    .filter((line) => line.trim() !== '');
  return text.slice(0, 10).join('\n');
}

interface Outcome {
  output: string;
  error: (Error & { code?: string | number | null }) | undefined;
}

function run(binary: string, args: readonly string[]): Promise<Outcome> {
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
