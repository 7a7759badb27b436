/** The exit codes of all commands. docs/cli.md explains them. */
export const EXIT = {
  /** Done, or nothing to do. */
  done: 0,
  /** The operation was refused or failed. */
  failed: 1,
  /** Wrong use of the command line. */
  usage: 2,
  /** The suite or HAProxy cannot be reached. */
  unreachable: 3,
  /** `--wait` or a check ended without the wanted result. */
  unwanted: 4,
} as const;

/** The `code` of an error that is no answer of the suite, by its exit code. For `--json`. */
const CODES: Readonly<Record<number, string>> = {
  [EXIT.failed]: 'failed',
  [EXIT.usage]: 'usage',
  [EXIT.unreachable]: 'unreachable',
  [EXIT.unwanted]: 'unwanted',
};

export function codeOf(exitCode: number): string {
  return CODES[exitCode] ?? 'failed';
}

/** An error that ends the command with this exit code. Its message is one line that says what to do. */
export class CommandError extends Error {
  /** Whether stdout has a result or a problem already, which `--json` must not follow with another document. */
  isOnStdout = false;

  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
    this.name = 'CommandError';
  }
}

/** Wrong use of the command line. */
export class UsageError extends CommandError {
  constructor(message: string) {
    super(message, EXIT.usage);
    this.name = 'UsageError';
  }
}
