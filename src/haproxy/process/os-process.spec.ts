import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { areOfOtherNamespace } from './os-process.js';

describe('areOfOtherNamespace', () => {
  it('compares the parent of the worker with the master', async () => {
    const worker = spawn('sleep', ['60'], { stdio: 'ignore' });
    const ended = spawn('true', { stdio: 'ignore' });
    await once(ended, 'exit');
    try {
      const pidOf = ({ pid = 0 }) => pid;
      expect(areOfOtherNamespace({ master: process.pid, worker: pidOf(worker) })).toBe(false);
      // The master is process 1 of its container.
      expect(areOfOtherNamespace({ master: 1, worker: pidOf(worker) })).toBe(true);
      expect(areOfOtherNamespace({ master: 1, worker: pidOf(ended) })).toBe(true);
    } finally {
      worker.kill();
    }
  });
});
