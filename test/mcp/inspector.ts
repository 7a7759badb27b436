import { execFile } from 'node:child_process';
import { toolPath } from '../kit/tool-path.js';

interface InspectorRun {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs the command line of the official MCP Inspector. It may write files to `home`. */
export function runInspector(
  url: string,
  token: string,
  home: string,
  options: readonly string[],
): Promise<InspectorRun> {
  const args = ['--cli', url, '--transport', 'http', '--header', `Authorization: Bearer ${token}`];
  return new Promise((resolve) => {
    execFile(
      toolPath('mcp-inspector'),
      [...args, ...options],
      { env: { PATH: process.env['PATH'] ?? '', HOME: home }, timeout: 60_000, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ exitCode, stdout, stderr });
      },
    );
  });
}
