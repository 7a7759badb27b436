import { describe, expect, it } from 'vitest';
import { messageOf } from '../errors/app-error.js';
import { SingleFlight } from './single-flight.js';

function countedRuns(): {
  shared: SingleFlight<number>;
  end: (failing?: boolean) => Promise<void>;
  runs: () => number;
} {
  let runs = 0;
  let settle: (failing: boolean) => void = () => undefined;
  const shared = new SingleFlight(async () => {
    runs += 1;
    const run = runs;
    const failing = await new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    if (failing) throw new Error(`run ${run}`);
    return run;
  });
  const end = async (failing = false) => {
    settle(failing);
    // Lets all promise callbacks run.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  };
  return { shared, end, runs: () => runs };
}

describe('SingleFlight', () => {
  it('runs once at a time, and one more time for all callers that asked during the run', async () => {
    const { shared, end, runs } = countedRuns();
    const first = shared.run();
    const later = Array.from({ length: 50 }, () => shared.run());
    expect(runs()).toBe(1);
    await end();
    expect(await first).toBe(1);
    expect(runs()).toBe(2);
    const last = shared.run();
    await end();
    expect(new Set(await Promise.all(later))).toEqual(new Set([2]));
    await end();
    expect(await last).toBe(3);
  });

  it('starts a new run when no caller waits, also after a failure', async () => {
    const { shared, end, runs } = countedRuns();
    const failed = shared.run().catch(messageOf);
    const next = shared.run();
    await end(true);
    expect(await failed).toBe('run 1');
    await end();
    expect(await next).toBe(2);
    const again = shared.run();
    expect(runs()).toBe(3);
    await end();
    expect(await again).toBe(3);
  });
});
