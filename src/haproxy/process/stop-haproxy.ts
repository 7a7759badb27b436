import type { OsProcess } from './os-process.js';

/** How long requests in progress may take to finish when HAProxy stops. */
export const GRACE_MS = 10_000;
const TERM_MS = 3_000;

/**
 * SIGUSR1 lets HAProxy finish its connections for `GRACE_MS`, SIGTERM closes them (management guide, section 4).
 * `onCut` is called if connections are closed. False if HAProxy still runs, also after SIGKILL.
 */
export async function stopHaproxy(haproxy: OsProcess, onCut?: () => void): Promise<boolean> {
  haproxy.signal('SIGUSR1');
  if (await haproxy.waitForExit(GRACE_MS)) return true;
  onCut?.();
  haproxy.signal('SIGTERM');
  if (await haproxy.waitForExit(TERM_MS)) return true;
  haproxy.signal('SIGKILL');
  return haproxy.waitForExit(TERM_MS);
}
