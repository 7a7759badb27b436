#!/usr/bin/env node
import { config } from 'dotenv';
import { CommandError, EXIT } from './cli/exit-code.js';
import { messageOf } from './errors/app-error.js';
import { namingTools } from './errors/operation-names.js';
import { findRuntimeApi } from './haproxy/config/runtime-api.js';
import { serveStdio, stdioTarget, USAGE } from './mcp/stdio/stdio-command.js';
import { loadSettings, type Settings } from './settings/settings.js';

/** How long a graceful shutdown may take before the process exits anyway. */
const STOP_MS = 30_000;
const SHUTDOWN_TIMED_OUT =
  `Shutdown did not finish within ${STOP_MS / 1000} s. All confirmed changes are saved. A HAProxy that the suite runs ` +
  'may still run; the next start of the suite attaches to it.';

async function main(): Promise<void> {
  config({ quiet: true });
  const settings = loadSettings(process.env, findRuntimeApi);
  const [command, ...given] = process.argv.slice(2);
  if (command === 'mcp') await stdio(given, settings);
  // Until the dispatch of branch cli is merged: register COMMAND of src/cli/apply/apply.command.ts there instead.
  else if (command === 'apply')
    process.exit(
      await (
        await import('./cli/apply/apply.command.js')
      ).COMMAND.run(given, { stdout: process.stdout, stderr: process.stderr, env: process.env }),
    );
  else if (command === undefined) await serve(settings);
  else throw new Error(`There is no command ${command}. Start haproxy-suite without a command, or with mcp.`);
}

/** An MCP server on stdin and stdout, for clients that start a local server. It forwards to the running suite. */
async function stdio(given: readonly string[], settings: Settings): Promise<void> {
  if (given.includes('--help')) process.stdout.write(USAGE);
  else await serveStdio(stdioTarget(given, settings), process.stdin, process.stdout);
  process.exit(0);
}

async function serve(settings: Settings): Promise<void> {
  // Imported here, because the command `mcp` does not need it and its client waits for the start.
  const { startApp } = await import('./app.js');
  const app = await startApp(settings);
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => fail(new Error(SHUTDOWN_TIMED_OUT)), STOP_MS).unref();
    app.close().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    );
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
}

/** Prints the error as one line, without a stack. */
function fail(error: unknown): never {
  process.stderr.write(`haproxy-suite: ${namingTools(messageOf(error))}\n`);
  process.exit(error instanceof CommandError ? error.exitCode : EXIT.failed);
}

main().catch(fail);
