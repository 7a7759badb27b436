import { createServer } from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TailnetListeners } from './tailnet-listeners.js';

describe('TailnetListeners', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
    syncBuiltinESMExports();
  });

  it('tries again and warns once, if the process has no file descriptor to read the addresses', async () => {
    const read = vi.spyOn(os, 'networkInterfaces').mockImplementation(() => {
      throw new Error('EMFILE');
    });
    syncBuiltinESMExports();
    const warn = vi.spyOn(Logger.prototype, 'warn').mockReturnValue();
    const listeners = new TailnetListeners(createServer(), 8000);
    await listeners.open();
    await vi.advanceTimersByTimeAsync(2_500);
    await listeners.close();
    expect(read).toHaveBeenCalledTimes(3);
    expect(warn.mock.calls).toEqual([
      ['The suite cannot read the addresses of this machine: EMFILE. It tries again every second.'],
    ]);
  });
});
