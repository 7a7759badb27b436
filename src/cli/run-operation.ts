import { type Command, CommanderError } from 'commander';
import { namingCommands } from '../errors/operation-names.js';
import { VERSION } from '../lib/version.js';
import { visible } from '../lib/safe-text.js';
import { commandWords } from './command-words.js';
import { commandNames } from './command-names.js';
import { EXIT, UsageError } from './exit-code.js';
import type { CommandIo } from './local-command.js';
import { loadOperations } from './operations/load-operations.js';
import { createProgram, sentenceOf } from './program.js';
import { CallRunner } from './run-call.js';
import { SuiteClient } from './suite-client.js';
import { findTarget } from './target.js';

/** Runs an operation, or shows the help. `locals` are the commands that are not operations. Returns the exit code. */
export async function runOperation(
  argv: readonly string[],
  io: CommandIo,
  locals: readonly { name: string; summary: string }[],
): Promise<number> {
  const operations = loadOperations();
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
  if (argv.includes('--help')) refuseUnknown(program, commandWords(argv));
  const out = (text: string) => io.stdout.write(text);
  for (const command of [program, ...program.commands, ...program.commands.flatMap((one) => one.commands)])
    command.configureOutput({ writeOut: out, writeErr: ignore, outputError: ignore });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return endOf(error, groupOf(program, commandWords(argv)));
    throw error;
  }
}

function commandOf(parent: Command, word: string | undefined): Command | undefined {
  return parent.commands.find((one) => word !== undefined && [one.name(), ...one.aliases()].includes(word));
}

/** The command that has commands and that the first word names. */
function groupOf(program: Command, [first]: readonly string[]): Command | undefined {
  const found = commandOf(program, first);
  return found && found.commands.length > 0 ? found : undefined;
}

/** @throws UsageError */
function refuseUnknown(program: Command, words: readonly string[]): void {
  const [first, second] = words;
  const group = groupOf(program, words);
  const isKnown = first === undefined || commandOf(program, first) !== undefined;
  const parent = isKnown && group ? `${group.name()} ` : '';
  if (isKnown && (!group || second === undefined || commandOf(group, second))) return;
  throw new UsageError(
    `Unknown command '${visible(parent + String(parent === '' ? first : second))}'. Run haproxy-suite ${parent}--help for the commands.`,
  );
}

/** @throws UsageError, unless the help or the version was asked for */
function endOf({ code, message }: CommanderError, group: Command | undefined): number {
  if (['commander.helpDisplayed', 'commander.version'].includes(code)) return EXIT.done;
  if (code === 'commander.help' && group) {
    const names = group.commands.map((one) => one.name()).join(', ');
    throw new UsageError(
      `A command of haproxy-suite ${group.name()} is missing: ${names}. Run haproxy-suite ${group.name()} --help for what they do.`,
    );
  }
  if (code === 'commander.help')
    throw new UsageError('A command is missing. Run haproxy-suite --help for the commands.');
  throw new UsageError(sentenceOf(message));
}

function ignore(): void {
  // The error is thrown, and main.ts shows it as one line.
}
