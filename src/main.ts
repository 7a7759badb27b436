#!/usr/bin/env node
import { EXIT } from './cli/exit-code.js';
import { runCli } from './cli/run-cli.js';
import { LOCAL_COMMANDS } from './local-commands.js';
import { loadEnvironment } from './settings/load-environment.js';

const { stdout, stderr, env } = process;
const [word = 'serve', ...args] = process.argv.slice(2);

loadEnvironment(env, { ofService: word !== 'serve' });
stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader such as `head` that has enough closes the pipe.
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed);
});
const exitCode = await runCli([word, ...args], { stdout, stderr, env }, LOCAL_COMMANDS);
stdout.write('', (error: NodeJS.ErrnoException | null | undefined) => {
  // For example a full disk. This runs before the event `error`.
  process.exit(error && error.code !== 'EPIPE' ? EXIT.failed : exitCode);
});
