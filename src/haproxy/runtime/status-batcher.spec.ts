import { describe, expect, it } from 'vitest';
import type { ServerStatusRow } from './server-status.js';
import { ServerStatusBatcher } from './status-batcher.js';

const rowOf = (pool: string): ServerStatusRow => ({
  pool,
  slot: 1,
  status: 'UP',
  connections: 0,
  lastCheck: '',
});

describe('ServerStatusBatcher', () => {
  it('is one for all who ask in the same turn, and gives each its own pool', async () => {
    const asked: (readonly string[])[] = [];
    const look = new ServerStatusBatcher({
      serverStatuses: async (pools = []) => {
        asked.push(pools);
        return pools.map(rowOf);
      },
    });
    const found = await Promise.all(['pool_1', 'pool_2', 'pool_1'].map((pool) => look.statusesOf(pool)));
    expect(asked).toEqual([['pool_1', 'pool_2']]);
    expect(found.map(([row]) => row?.pool)).toEqual(['pool_1', 'pool_2', 'pool_1']);
  });

  it('is another one for who asks while it is under way', async () => {
    const asked: (readonly string[])[] = [];
    const look = new ServerStatusBatcher({
      serverStatuses: async (pools = []) => {
        asked.push(pools);
        if (asked.length === 1) await expect(look.statusesOf('pool_1')).resolves.toHaveLength(1);
        return pools.map(rowOf);
      },
    });
    await expect(look.statusesOf('pool_1')).resolves.toHaveLength(1);
    expect(asked).toEqual([['pool_1'], ['pool_1']]);
  });

  it('that fails fails for those who asked, and not for the next', async () => {
    let isDown = true;
    const look = new ServerStatusBatcher({
      serverStatuses: async (pools = []) => {
        if (isDown) throw new Error('down');
        return pools.map(rowOf);
      },
    });
    const both = await Promise.allSettled([look.statusesOf('pool_1'), look.statusesOf('pool_2')]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    isDown = false;
    await expect(look.statusesOf('pool_1')).resolves.toHaveLength(1);
  });
});
