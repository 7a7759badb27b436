import { AppError, messageOf } from '../errors/app-error.js';
import { journalStreams, priorityPrefix } from '../lib/machine/journal.js';
import { VERSION } from '../lib/version.js';
import { withCommands } from './command-names.js';
import { commandAt } from './command-words.js';
import { codeOf, CommandError, EXIT } from './exit-code.js';
import type { CommandIo, LocalCommand } from './local-command.js';
import { visibleJson, visibleLines } from '../lib/safe-text.js';

/** The commands that are not operations, by their first word. Each is loaded when it is called. */
export type LocalCommands = Readonly<Record<string, () => Promise<LocalCommand>>>;

/**
 * Runs the command line after `haproxy-suite`. Returns the exit code. An error becomes one line on stderr, without a
 * stack.
 */
export async function runCli(argv: readonly string[], io: CommandIo, locals: LocalCommands): Promise<number> {
  try {
    return await run(argv, io, locals);
  } catch (error) {
    // A start that is refused names the lines to add, one below the other.
    const shown = `haproxy-suite: ${visibleLines(withCommands(messageOf(error)))}`;
    const isJournal = journalStreams(io.env['JOURNAL_STREAM']).has('stderr');
    // The journal takes each line as an entry of its own.
    io.stderr.write(`${isJournal ? shown.replaceAll(/^/gm, priorityPrefix('error')) : shown}\n`);
    const exitCode = error instanceof CommandError ? error.exitCode : EXIT.failed;
    if (wantsJson(argv) && !(error instanceof CommandError && error.isOnStdout))
      io.stdout.write(`${visibleJson(JSON.stringify(problemOf(error, exitCode)))}\n`);
    return exitCode;
  }
}

/** Also for an option that the command does not have: the caller reads stdout as JSON. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return argv.slice(0, end === -1 ? undefined : end).includes('--json');
}

/** `code` and `detail`, as a problem of the REST API has them. */
function problemOf(error: unknown, exitCode: number): { code: string; detail: string } {
  const code = error instanceof AppError ? error.code : codeOf(exitCode);
  return { code, detail: withCommands(messageOf(error)) };
}

async function run(argv: readonly string[], io: CommandIo, locals: LocalCommands): Promise<number> {
  const at = commandAt(argv);
  if (argv[at] === 'help') return run([...argv.slice(0, at), ...argv.slice(at + 1), '--help'], io, locals);
  const [first = '', ...args] = localFirst(argv, locals);
  const load = Object.hasOwn(locals, first) ? locals[first] : undefined;
  if (load) {
    const command = await load();
    const isHelp = args[0] !== '--words' && (args.includes('--help') || args.includes('-h'));
    if (!isHelp) return command.run(args, io);
    io.stdout.write(command.usage);
    return EXIT.done;
  }
  if (['--version', '-V'].includes(argv[0] ?? '')) {
    io.stdout.write(`${VERSION}\n`);
    return EXIT.done;
  }
  // Imported here, because only operations need the parser of the command line and HTTP.
  const { runOperation } = await import('./run-operation.js');
  return runOperation(argv, io, await summaries(locals, first));
}

/**
 * `--json doctor` as `doctor --json`: the global options of operations may come before the command, and a command that is
 * no operation has options of its own.
 */
function localFirst(argv: readonly string[], locals: LocalCommands): readonly string[] {
  const at = commandAt(argv);
  const word = argv[at];
  if (word === undefined || !Object.hasOwn(locals, word)) return argv;
  return [word, ...argv.slice(0, at), ...argv.slice(at + 1)];
}

/** Only the help shows the summaries. To load the commands for another command would cost time. */
async function summaries(locals: LocalCommands, first: string): Promise<{ name: string; summary: string }[]> {
  const isHelp = ['--help', '-h'].includes(first);
  return Promise.all(
    Object.entries(locals).map(async ([name, load]) => ({
      name,
      summary: isHelp ? (await load()).summary : '',
    })),
  );
}
