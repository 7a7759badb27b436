#!/usr/bin/env node
import { config } from 'dotenv';
import { startApp } from './app.js';
import { messageOf } from './common/errors.js';
import { loadSettings } from './settings/settings.js';

/** How long a graceful stop may take before the process leaves anyway. */
const STOP_MS = 30_000;

async function main(): Promise<void> {
  config({ quiet: true });
  const app = await startApp(loadSettings(process.env));
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), STOP_MS).unref();
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
