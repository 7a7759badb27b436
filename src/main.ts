#!/usr/bin/env node
import { config } from 'dotenv';
import { messageOf } from './errors/app-error.js';
import { serveStdio, stdioTarget, USAGE } from './mcp/stdio/stdio-command.js';
import { loadSettings, type Settings } from './settings/settings.js';

/** How long a graceful stop may take before the process leaves anyway. */
const STOP_MS = 30_000;
const UNFINISHED =
  `not all was ended within ${STOP_MS / 1000} s of being told to stop. What was acknowledged is kept; a HAProxy that the ` +
  'suite runs may be running still, and the next start takes it over.';

async function main(): Promise<void> {
  config({ quiet: true });
  const settings = loadSettings(process.env);
  const [command, ...given] = process.argv.slice(2);
  if (command === 'mcp') await stdio(given, settings);
  else if (command === undefined) await serve(settings);
  else throw new Error(`there is no command ${command}: start it without one, or with mcp`);
}

/** An MCP server for clients that start one themselves. It owns nothing: the suite that is running does. */
async function stdio(given: readonly string[], settings: Settings): Promise<void> {
  if (given.includes('--help')) process.stdout.write(USAGE);
  else await serveStdio(stdioTarget(given, settings), process.stdin, process.stdout);
  process.exit(0);
}

async function serve(settings: Settings): Promise<void> {
  // Loaded only here: a client that starts `mcp` waits for it, and it needs none of this.
  const { startApp } = await import('./app.js');
  const app = await startApp(settings);
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => fail(new Error(UNFINISHED)), STOP_MS).unref();
    app.close().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    );
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
}

/** One line that says what to change; a stack would only hide it. */
function fail(error: unknown): never {
  process.stderr.write(`haproxy-suite: ${messageOf(error)}\n`);
  process.exit(1);
}

main().catch(fail);
