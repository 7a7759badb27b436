import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  comparePoolNames,
  isPoolName,
  parseSlot,
  poolName,
  poolNumber,
  poolSortKey,
  serverName,
  slotOf,
  sortPoolNames,
} from './pool-name.js';

const numbers = fc.integer({ min: 1, max: 999_999 });

describe('pool names', () => {
  it.each(['pool_1', 'pool_10', 'pool_999999'])('include %s', (name) => {
    expect(isPoolName(name)).toBe(true);
    expect(poolName(poolNumber(name) ?? 0)).toBe(name);
  });

  it.each([
    'pool_0',
    'pool_01',
    'pool_1000000',
    'pool_',
    'pool_1_1',
    'Pool_1',
    'web',
    'pool_1 ',
    'pool_1\n',
    '',
  ])('do not include %j', (name) => {
    expect(isPoolName(name)).toBe(false);
    expect(poolNumber(name)).toBeUndefined();
  });

  it('have one order: by number, with other names after them', () => {
    fc.assert(
      fc.property(fc.array(numbers), (some) => {
        const byNumber = [...new Set(some)].toSorted((one, other) => one - other).map(poolName);
        const names = some.map(poolName);
        expect(sortPoolNames(['web', ...names, 'pool_1000000'])).toEqual(byNumber);
        expect([...new Set(names)].toSorted(comparePoolNames)).toEqual(byNumber);
        const keys = ['web', 'pool_1000000', ...byNumber].map(poolSortKey);
        expect(keys.toSorted().slice(0, byNumber.length)).toEqual(byNumber.map(poolSortKey));
      }),
    );
  });
});

describe('server names', () => {
  it('end with the slot', () => {
    expect(serverName('pool_5', 3)).toBe('pool_5_3');
    expect(slotOf('pool_5', 'pool_5_3')).toBe(3);
  });

  it.each([
    ['pool_5', 'pool_5_0'],
    ['pool_5', 'pool_5_03'],
    ['pool_5', 'pool_5_1000000'],
    ['pool_5', 'pool_55_3'],
    ['pool_5', 'web'],
  ])('of %s do not include %s', (pool, server) => {
    expect(slotOf(pool, server)).toBeUndefined();
  });
});

describe('parseSlot', () => {
  it.each(['0', '01', '1.0', '-1', ' 1', '', '1e3', '1000000'])('refuses %j', (text) => {
    expect(parseSlot(text)).toBeUndefined();
  });
});
