import { execFile } from 'node:child_process';
import { toolPath } from '../kit/tool-path.js';

export interface Inspected {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** One run of the official inspector, as a person runs it; `home` is where it may leave its files. */
export function inspect(
  url: string,
  token: string,
  home: string,
  given: readonly string[],
): Promise<Inspected> {
  const args = ['--cli', url, '--transport', 'http', '--header', `Authorization: Bearer ${token}`];
  return new Promise((resolve) => {
    execFile(
      toolPath('mcp-inspector'),
      [...args, ...given],
      { env: { PATH: process.env['PATH'] ?? '', HOME: home }, timeout: 60_000, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ exitCode, stdout, stderr });
      },
    );
  });
}
