import { setTimeout as delay } from 'node:timers/promises';

interface PollOptions<T> {
  /** The pause between two looks doubles from the first value to the second. */
  firstPauseMs: number;
  longestPauseMs: number;
  /** After this time, the present result is returned. */
  limitMs: number;
  /** Ends the poll early. */
  signal: AbortSignal;
  /** Called before each pause. `elapsedMs` counts from the start. */
  onWait?: (found: T, elapsedMs: number) => void;
}

/**
 * Calls `look` until `isDone`, until the time is over, or until the signal aborts. Returns what the last call found.
 *
 * @throws what `look` throws
 */
export async function poll<T>(
  look: () => Promise<T>,
  isDone: (found: T) => boolean,
  { firstPauseMs, longestPauseMs, limitMs, signal, onWait }: PollOptions<T>,
): Promise<T> {
  const started = performance.now();
  for (let pause = firstPauseMs; ; pause = Math.min(pause * 2, longestPauseMs)) {
    const found = await look();
    const elapsed = performance.now() - started;
    const remaining = limitMs - elapsed;
    if (isDone(found) || remaining <= 0 || signal.aborted) return found;
    onWait?.(found, elapsed);
    await delay(Math.min(pause, remaining), undefined, { signal }).catch(() => undefined);
  }
}
