import process from 'node:process';
import { startApp } from './app.js';
import { findRuntimeApi } from './haproxy/config/runtime-api.js';
import { loadSettings } from './settings/settings.js';

/** How long a graceful shutdown may take before the process exits anyway. */
const STOP_MS = 30_000;
const SHUTDOWN_TIMED_OUT =
  `Shutdown did not finish within ${STOP_MS / 1000} s. All confirmed changes are saved. A HAProxy that the suite runs ` +
  'may still run; the next start of the suite attaches to it.';

/** Runs the suite until SIGTERM or SIGINT. Calls `fail` if the shutdown fails. */
export async function serve(fail: (error: unknown) => never): Promise<void> {
  const app = await startApp(loadSettings(process.env, findRuntimeApi));
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
