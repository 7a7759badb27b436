import { describe, expect, it } from 'vitest';
import { FailedAttempts } from './failed-attempts.js';

describe('FailedAttempts', () => {
  it('counts per source for one minute', () => {
    let now = 0;
    const attempts = new FailedAttempts(() => now);
    expect([attempts.count('10.0.0.1'), attempts.count('10.0.0.1'), attempts.count('10.0.0.2')]).toEqual([
      1, 2, 1,
    ]);
    now = 60_000;
    expect(attempts.count('10.0.0.1')).toBe(1);
  });

  it('counts an IPv6 /64 as one source', () => {
    const attempts = new FailedAttempts();
    attempts.count('2001:db8::1');
    expect(attempts.count('2001:db8:0:0:ffff::2')).toBe(2);
    expect(attempts.count('2001:db8:0:1::1')).toBe(1);
    attempts.count('::1');
    expect(attempts.count('::2')).toBe(2);
  });

  it('keeps the most recent sources when there are too many', () => {
    const attempts = new FailedAttempts();
    for (let index = 0; index < 5000; index += 1) attempts.count(`10.0.${index >> 8}.${index & 255}`);
    expect(attempts.count('10.0.0.0')).toBe(1);
    expect(attempts.count('10.0.19.135')).toBe(2);
  });

  it('delays each further failure longer, at most two seconds', () => {
    expect([1, 5, 6, 15, 1000].map((count) => FailedAttempts.delayAfter(count))).toEqual([
      0, 0, 100, 1000, 2000,
    ]);
  });
});
