import { expect, it } from 'vitest';
import { CallerQuota } from './caller-quota.js';

it('gives one caller half of the places at most, and all of them to all callers', () => {
  const places = new CallerQuota(4);
  const takes = (caller: string) => places.take(caller) !== undefined;
  expect(['a', 'a', 'a', 'b', 'b', 'c'].map(takes)).toEqual([true, true, false, true, true, false]);
});

it('takes places back', () => {
  const places = new CallerQuota(4);
  const [first] = [places.take('a'), places.take('a')];
  expect(places.take('a')).toBeUndefined();
  first?.();
  expect(places.take('a')).toBeTypeOf('function');
});
