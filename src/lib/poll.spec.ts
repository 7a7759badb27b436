import { describe, expect, it } from 'vitest';
import { poll } from './poll.js';

const never = new AbortController().signal;

function options(more: object = {}) {
  const waits: number[] = [];
  return {
    waits,
    firstPauseMs: 1,
    longestPauseMs: 4,
    limitMs: 60_000,
    signal: never,
    onWait: (found: number) => void waits.push(found),
    ...more,
  };
}

/** Counts the looks. */
function counter(): () => Promise<number> {
  let looks = 0;
  return () => Promise.resolve((looks += 1));
}

describe('poll', () => {
  it('looks until it is done, and reports each wait', async () => {
    const given = options();
    expect(await poll(counter(), (found) => found === 3, given)).toBe(3);
    expect(given.waits).toEqual([1, 2]);
  });

  it('looks once if the time is over', async () => {
    const given = options({ limitMs: 0 });
    expect(await poll(counter(), () => false, given)).toBe(1);
    expect(given.waits).toEqual([]);
  });

  it('ends when the signal aborts', async () => {
    const controller = new AbortController();
    const given = options({
      firstPauseMs: 60_000,
      signal: controller.signal,
      onWait: () => controller.abort(),
    });
    expect(await poll(counter(), () => false, given)).toBe(2);
  });

  it('throws what a look throws', async () => {
    const look = () => Promise.reject(new Error('gone'));
    await expect(poll(look, () => false, options())).rejects.toThrow('gone');
  });
});
