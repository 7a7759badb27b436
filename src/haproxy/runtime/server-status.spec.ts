import { describe, expect, it } from 'vitest';
import { statusOf } from './server-status.js';

describe('statusOf', () => {
  it.each([
    ['UP', 'UP'],
    ['UP 1/3', 'UP'],
    ['DOWN', 'DOWN'],
    ['DOWN 1/2', 'DOWN'],
    ['DOWN (agent)', 'DOWN'],
    ['MAINT', 'MAINT'],
    ['MAINT (via pool_1/x)', 'MAINT'],
    ['MAINT (resolution)', 'MAINT'],
    ['DRAIN', 'DRAIN'],
    ['DRAIN 1/3', 'DRAIN'],
    ['NOLB', 'DRAIN'],
    ['NOLB 1/2', 'DRAIN'],
    ['no check', 'no check'],
  ])('maps the status column %j to %s', (column, status) => {
    expect(statusOf(column)).toBe(status);
  });
});
