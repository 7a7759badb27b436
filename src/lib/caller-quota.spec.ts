import { describe, expect, it } from 'vitest';
import { CallerQuota } from './caller-quota.js';

describe('CallerQuota', () => {
  it('gives one caller at most half of the permits, and all callers together all permits', () => {
    const quota = new CallerQuota(4);
    const acquires = (caller: string) => quota.acquire(caller) !== undefined;
    expect(['a', 'a', 'a', 'b', 'b', 'c'].map(acquires)).toEqual([true, true, false, true, true, false]);
  });

  it('gives a permit again after its release', () => {
    const quota = new CallerQuota(4);
    const [release] = [quota.acquire('a'), quota.acquire('a')];
    expect(quota.acquire('a')).toBeUndefined();
    release?.();
    expect(quota.acquire('a')).toBeTypeOf('function');
  });
});
