import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CheckpointTimer } from './checkpoint-timer.js';

describe('CheckpointTimer', () => {
  let runs: number;
  let fails: boolean;
  let timer: CheckpointTimer;

  /** One commit every half second for this many seconds. */
  const change = async (seconds: number, commits = 1) => {
    for (let half = 0; half < 2 * seconds; half += 1) {
      timer.onCommit(commits);
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

  it('onCommit > runs after a second without commits, after a minute, or with 5,000 commits', async () => {
    await change(50);
    expect(runs).toBe(0);
    await vi.advanceTimersByTimeAsync(500);
    expect(runs).toBe(1);
    await change(119);
    expect(runs).toBe(2);
    timer.onCommit(5_000);
    await vi.advanceTimersByTimeAsync(0);
    expect(runs).toBe(3);
  });

  it.each([1, 5_000])(
    'onCommit > waits 30 s after a failure, with %i commits in the journal',
    async (commits) => {
      fails = true;
      timer.onCommit(commits);
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
    },
  );
});
