import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CheckpointTimer } from './checkpoint-timer.js';

describe('CheckpointTimer', () => {
  let runs: number;
  let fails: boolean;
  let timer: CheckpointTimer;

  /** A change every half second, for so long. */
  const change = async (seconds: number, commits = 1) => {
    for (let half = 0; half < 2 * seconds; half += 1) {
      timer.touch(commits);
      await vi.advanceTimersByTimeAsync(500);
    }
  };

  beforeEach(() => {
    vi.useFakeTimers();
    [runs, fails] = [0, false];
    timer = new CheckpointTimer(async () => {
      runs += 1;
      if (fails) throw new Error('ENOSPC');
    });
  });
  afterEach(() => {
    timer.stop();
    vi.useRealTimers();
  });

  it('waits for a rest, but not for ever, and not for many commits', async () => {
    await change(50);
    expect(runs).toBe(0);
    await vi.advanceTimersByTimeAsync(500);
    expect(runs).toBe(1);
    await change(119);
    expect(runs).toBe(2);
    timer.touch(5_000);
    await vi.advanceTimersByTimeAsync(0);
    expect(runs).toBe(3);
  });

  it.each([1, 5_000])('leaves a full disk alone for a while, with %i commits waiting', async (commits) => {
    fails = true;
    timer.touch(commits);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(runs).toBe(1);
    await change(28, commits);
    await vi.advanceTimersByTimeAsync(500);
    expect(runs).toBe(1);
    fails = false;
    await vi.advanceTimersByTimeAsync(3_000);
    expect(runs).toBe(2);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(runs).toBe(2);
  });
});
