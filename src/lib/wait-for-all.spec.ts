import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { waitForAll } from './wait-for-all.js';

describe('together', () => {
  it('fails with the first failure, once nothing is under way any more', async () => {
    let isDone = false;
    const slow = async (): Promise<void> => {
      await setImmediate();
      isDone = true;
    };
    const failing = Promise.reject(new Error('first'));
    await expect(waitForAll(failing, slow(), Promise.reject(new Error('second')))).rejects.toThrow('first');
    expect(isDone).toBe(true);
  });

  it('is done when all are', async () => {
    await expect(waitForAll(Promise.resolve(1), Promise.resolve('two'))).resolves.toBeUndefined();
  });
});
