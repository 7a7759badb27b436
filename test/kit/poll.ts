import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks until the answer is neither undefined nor false, and gives it. A throw counts as "not yet"; the last one is
 * the cause of the failure. As long as a busy machine may need, and shorter than a test may take: the failure then
 * says what was waited for.
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
    if (performance.now() > end) throw new Error(`${what} did not come true in ${timeout} ms`, { cause });
    await delay(interval);
  }
}
