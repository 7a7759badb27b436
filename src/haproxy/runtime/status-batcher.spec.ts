import { describe, expect, it } from 'vitest';
import type { ServerStatusRow } from './server-status.js';
import { ServerStatusBatcher } from './status-batcher.js';

const rowOf = (pool: string): ServerStatusRow => ({
  pool,
  slot: 1,
  status: 'UP',
  weight: 1,
  connections: 0,
  lastCheck: '',
});

describe('ServerStatusBatcher', () => {
  it('loads the pools of the same turn in one batch and returns each its own rows', async () => {
    const requested: (readonly string[])[] = [];
    const batcher = new ServerStatusBatcher({
      serverStatuses: async (pools = []) => {
        requested.push(pools);
        return pools.map(rowOf);
      },
    });
    const found = await Promise.all(['pool_1', 'pool_2', 'pool_1'].map((pool) => batcher.load(pool)));
    expect(requested).toEqual([['pool_1', 'pool_2']]);
    expect(found.map(([row]) => row?.pool)).toEqual(['pool_1', 'pool_2', 'pool_1']);
  });

  it('starts another batch for a call during a batch', async () => {
    const requested: (readonly string[])[] = [];
    const batcher = new ServerStatusBatcher({
      serverStatuses: async (pools = []) => {
        requested.push(pools);
        if (requested.length === 1) await expect(batcher.load('pool_1')).resolves.toHaveLength(1);
        return pools.map(rowOf);
      },
    });
    await expect(batcher.load('pool_1')).resolves.toHaveLength(1);
    expect(requested).toEqual([['pool_1'], ['pool_1']]);
  });

  it('rejects all calls of a failed batch, but not the calls of the next batch', async () => {
    let isDown = true;
    const batcher = new ServerStatusBatcher({
      serverStatuses: async (pools = []) => {
        if (isDown) throw new Error('down');
        return pools.map(rowOf);
      },
    });
    const both = await Promise.allSettled([batcher.load('pool_1'), batcher.load('pool_2')]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    isDown = false;
    await expect(batcher.load('pool_1')).resolves.toHaveLength(1);
  });
});
