import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { waitForAll } from './wait-for-all.js';

describe('waitForAll', () => {
  it('rejects with the first failure after all promises have settled', async () => {
    let isDone = false;
    const slow = async (): Promise<void> => {
      await setImmediate();
      isDone = true;
    };
    const failing = Promise.reject(new Error('first'));
    await expect(waitForAll(failing, slow(), Promise.reject(new Error('second')))).rejects.toThrow('first');
    expect(isDone).toBe(true);
  });

  it('resolves when all promises have resolved', async () => {
    await expect(waitForAll(Promise.resolve(1), Promise.resolve('two'))).resolves.toBeUndefined();
  });
});
