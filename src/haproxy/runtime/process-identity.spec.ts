import { describe, expect, it } from 'vitest';
import { isSameProcess } from './process-identity.js';

const before = { pid: 7, startedSec: 1000, totalConnections: 40 };

describe('isSameProcess', () => {
  it.each([
    ['true for the same process later', { ...before, totalConnections: 41 }, true],
    ['true for equal values', before, true],
    ['false for another pid', { ...before, pid: 8 }, false],
    [
      'false for the same pid with a later start',
      { ...before, startedSec: 1003, totalConnections: 99 },
      false,
    ],
    ['false for the same pid with a restart in the same second', { ...before, totalConnections: 3 }, false],
  ])('is %s', (_, current, expected) => {
    expect(isSameProcess(before, current)).toBe(expected);
  });
});
