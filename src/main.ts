#!/usr/bin/env node
import { config } from 'dotenv';
import { CommandError, EXIT, UsageError } from './cli/exit-code.js';
import { messageOf } from './errors/app-error.js';
import { namingTools } from './errors/operation-names.js';
import { LOCAL_COMMANDS } from './local-commands.js';

const IO = { stdout: process.stdout, stderr: process.stderr, env: process.env };

async function main(): Promise<void> {
  config({ quiet: true });
  const [word, ...args] = process.argv.slice(2);
  if (word === undefined || word === 'serve') {
    // Imported here, because only this command needs NestJS, which takes most of the start time.
    if (args.length > 0)
      throw new UsageError('serve takes no arguments. Its settings are in the environment.');
    await (await import('./serve.js')).serve(fail);
    return;
  }
  const load = Object.hasOwn(LOCAL_COMMANDS, word) ? LOCAL_COMMANDS[word] : undefined;
  if (!load) throw new UsageError(`There is no command ${word}.`);
  process.exit(await (await load()).run(args, IO));
}

/** Prints the error as one line, without a stack. */
function fail(error: unknown): never {
  process.stderr.write(`haproxy-suite: ${namingTools(messageOf(error))}\n`);
  process.exit(error instanceof CommandError ? error.exitCode : EXIT.failed);
}

main().catch(fail);
