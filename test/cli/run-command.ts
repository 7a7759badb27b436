import { runCli } from '../../src/cli/run-cli.js';
import { LOCAL_COMMANDS } from '../../src/local-commands.js';

export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

interface Options {
  /** The width of the terminal. Default: stdout is a pipe. */
  columns?: number;
}

/** Runs `haproxy-suite` in this process. The operations are those of dist/operations.json. */
export async function runCommand(
  argv: readonly string[],
  env: Record<string, string> = {},
  { columns }: Options = {},
): Promise<CommandResult> {
  const written = { stdout: '', stderr: '' };
  const stdout = {
    write: (text: string) => void (written.stdout += text),
    ...(columns !== undefined && { isTTY: true, columns }),
  };
  const stderr = { write: (text: string) => void (written.stderr += text) };
  const code = await runCli(argv, { stdout, stderr, env }, LOCAL_COMMANDS);
  return { code, ...written };
}
