import { describe, expect, it } from 'vitest';
import { SteadyClock } from './steady-clock.js';

const START = Date.parse('2026-06-01T12:00:00Z');
const MINUTE = 60_000;

/** A clock whose two sources the test moves. `wait` passes time in steps of a second, as a timer would read it. */
function testClock() {
  const sources = { wall: START, monotonic: 5_000 };
  const clock = new SteadyClock({ wall: () => sources.wall, monotonic: () => sources.monotonic });
  const wait = (milliseconds: number, rate = 1) => {
    for (let passed = 0; passed < milliseconds; passed += 1_000) {
      sources.monotonic += 1_000;
      sources.wall += 1_000 * rate;
      clock.now();
    }
  };
  const jump = (milliseconds: number) => {
    sources.wall += milliseconds;
    clock.now();
  };
  return { clock, wait, jump };
}

describe('SteadyClock', () => {
  it('begins with the wall clock and follows the monotonic clock', () => {
    const { clock, wait } = testClock();
    expect(clock.now()).toBe(START);
    wait(MINUTE);
    expect([clock.now(), clock.latest(), clock.jump()]).toEqual([START + MINUTE, START + MINUTE, undefined]);
  });

  it.each([61_000, -61_000, 10 * 365 * 24 * 60 * MINUTE])(
    'a jump by %d ms > there is no time until the clock has held for 5 minutes',
    (size) => {
      const { clock, wait, jump } = testClock();
      jump(size);
      expect([clock.now(), clock.jump()]).toEqual([undefined, size]);
      expect(clock.latest()).toBe(START + Math.max(0, size));
      wait(5 * MINUTE - 1_000);
      expect(clock.now()).toBeUndefined();
      wait(1_000);
      expect([clock.now(), clock.jump()]).toEqual([START + 5 * MINUTE + size, undefined]);
    },
  );

  it('a jump and a jump back > there is no time for 5 minutes, then the former one', () => {
    const { clock, wait, jump } = testClock();
    jump(10 * MINUTE);
    wait(4 * MINUTE);
    jump(-10 * MINUTE);
    wait(4 * MINUTE);
    expect(clock.now()).toBeUndefined();
    wait(MINUTE);
    expect(clock.now()).toBe(START + 9 * MINUTE);
  });

  it('a step of up to 60 s > the time goes on, and includes the step after 5 minutes', () => {
    const { clock, wait, jump } = testClock();
    jump(50_000);
    wait(MINUTE);
    expect(clock.now()).toBe(START + MINUTE);
    wait(4 * MINUTE);
    expect(clock.now()).toBe(START + 5 * MINUTE + 50_000);
  });

  it('many small steps > are a jump when they are more than 60 s together', () => {
    const { clock, wait, jump } = testClock();
    jump(50_000);
    wait(MINUTE);
    jump(50_000);
    expect(clock.now()).toBeUndefined();
  });

  it('a wall clock that runs three times as fast > has no time', () => {
    const { clock, wait } = testClock();
    wait(10 * MINUTE, 3);
    expect(clock.now()).toBeUndefined();
  });
});
