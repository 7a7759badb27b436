import { setTimeout as delay } from 'node:timers/promises';

/**
 * Calls `ask` until its result is neither undefined nor false, and returns the result. An error counts as "not yet"; the
 * last error becomes the cause of the failure. The default timeout fits a busy machine and is shorter than the timeout
 * of a test, so that the failure can name the condition.
 */
export async function until<T>(
  ask: () => T | Promise<T>,
  { timeout = 60_000, interval = 10, what = 'the condition' } = {},
): Promise<Exclude<T, undefined | false>> {
  const end = performance.now() + timeout;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > end)
      throw new Error(`Timed out after ${timeout} ms waiting for ${what}`, { cause });
    await delay(interval);
  }
}
