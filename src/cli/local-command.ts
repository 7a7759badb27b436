/** Where a command writes. Node's `process.stdout` and `process.stderr` fit. */
export interface CommandIo {
  stdout: { write(text: string): void; isTTY?: boolean };
  stderr: { write(text: string): void; isTTY?: boolean };
  env: NodeJS.ProcessEnv;
}

/** A command that runs on this machine and is not an operation of the REST API. `run` returns the exit code. */
export interface LocalCommand {
  name: string;
  summary: string;
  usage: string;
  run(args: readonly string[], io: CommandIo): Promise<number>;
}
