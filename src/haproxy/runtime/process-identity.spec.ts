import { describe, expect, it } from 'vitest';
import { isSameProcess } from './process-identity.js';

const before = { pid: 7, startedSec: 1000, totalConnections: 40 };

describe('isSameProcess', () => {
  it.each([
    ['a later moment of the same', { ...before, totalConnections: 41 }, true],
    ['the very same', before, true],
    ['another pid', { ...before, pid: 8 }, false],
    ['the same pid, started later', { ...before, startedSec: 1003, totalConnections: 99 }, false],
    ['the same pid within the same second', { ...before, totalConnections: 3 }, false],
  ])('%s', (_, now, same) => {
    expect(isSameProcess(before, now)).toBe(same);
  });
});
