import { CommanderError } from 'commander';
import { AppError, messageOf } from '../errors/app-error.js';
import { namingCommands } from '../errors/operation-names.js';
import { journalStreams, priorityPrefix } from '../lib/machine/journal.js';
import { VERSION } from '../lib/version.js';
import { commandNames, withCommands } from './command-names.js';
import { codeOf, CommandError, EXIT, UsageError } from './exit-code.js';
import type { CommandIo, LocalCommand } from './local-command.js';
import type { CliOperation } from './operations/operation.js';
import { loadOperations } from './operations/load-operations.js';
import { createProgram, sentenceOf } from './program.js';
import { CallRunner } from './run-call.js';
import { visibleJson, visibleLines } from '../lib/safe-text.js';
import { SuiteClient } from './suite-client.js';
import { findTarget } from './target.js';

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
  if (argv[0] === 'help') return run([...argv.slice(1), '--help'], io, locals);
  const [first = '', ...args] = localFirst(argv, locals);
  const load = Object.hasOwn(locals, first) ? locals[first] : undefined;
  if (load) {
    const command = await load();
    const isHelp = args[0] !== '--words' && (args.includes('--help') || args.includes('-h'));
    if (!isHelp) return command.run(args, io);
    io.stdout.write(command.usage);
    return EXIT.done;
  }
  return runOperation(argv, io, await summaries(locals, first), loadOperations());
}

/**
 * `--json doctor` as `doctor --json`: the global options of operations may come before the command, and a command that is
 * no operation has options of its own.
 */
function localFirst(argv: readonly string[], locals: LocalCommands): readonly string[] {
  let at = 0;
  while (argv[at]?.startsWith('--') === true)
    at += ['--url', '--token-file'].includes(argv[at] ?? '') ? 2 : 1;
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

async function runOperation(
  argv: readonly string[],
  io: CommandIo,
  locals: readonly { name: string; summary: string }[],
  operations: readonly CliOperation[],
): Promise<number> {
  const commands = commandNames(operations);
  const named = (text: string) => namingCommands(text, commands);
  let exitCode: number = EXIT.done;
  const program = createProgram({
    words: argv,
    operations,
    locals,
    version: VERSION,
    named,
    run: async (call) => {
      const client = new SuiteClient(await findTarget(call, io.env));
      exitCode = await new CallRunner(client, operations, io, named).run(call);
    },
  });
  // Commander shows its help for an unknown command with --help.
  const [first = '-'] = argv;
  const isKnown = program.commands.some((one) => one.name() === first || one.aliases().includes(first));
  if (argv.includes('--help') && !first.startsWith('-') && !isKnown)
    throw new UsageError(`Unknown command '${first}'. Run haproxy-suite --help for the commands.`);
  const out = (text: string) => io.stdout.write(text);
  for (const command of [program, ...program.commands, ...program.commands.flatMap((one) => one.commands)])
    command.configureOutput({ writeOut: out, writeErr: ignore, outputError: ignore });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return endOf(error);
    throw error;
  }
}

/** @throws UsageError, unless the help or the version was asked for */
function endOf({ code, message }: CommanderError): number {
  if (['commander.helpDisplayed', 'commander.version'].includes(code)) return EXIT.done;
  if (code === 'commander.help')
    throw new UsageError('A command is missing. Run haproxy-suite --help for the commands.');
  throw new UsageError(sentenceOf(message));
}

function ignore(): void {
  // The error is thrown, and main.ts shows it as one line.
}
