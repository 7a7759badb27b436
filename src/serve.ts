import process from 'node:process';
import { startApp } from './app.js';
import { findRuntimeApi } from './haproxy/config/runtime-api.js';
import { loadSettings } from './settings/settings.js';

/** How long a graceful shutdown may take before the process exits anyway. */
const STOP_MS = 30_000;
const SHUTDOWN_TIMED_OUT =
  `Shutdown did not finish within ${STOP_MS / 1000} s. All confirmed changes are saved. A HAProxy that the suite runs ` +
  'may still run; the next start of the suite attaches to it.';

/** Runs the suite. Returns after SIGTERM or SIGINT, when it has stopped. @throws Error if it does not stop in time */
export async function serve(env: NodeJS.ProcessEnv): Promise<void> {
  const app = await startApp(loadSettings(env, findRuntimeApi));
  await new Promise<void>((resolve, reject) => {
    let stopping = false;
    const stop = () => {
      if (stopping) return;
      stopping = true;
      setTimeout(() => reject(new Error(SHUTDOWN_TIMED_OUT)), STOP_MS).unref();
      app.close().then(resolve, reject);
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
  });
}
