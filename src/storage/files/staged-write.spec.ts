import { describe, expect, it } from 'vitest';
import { stageAll, type StagedWrite, stageInOrder, UnexpectedContentError } from './staged-write.js';

const part =
  (log: string[], name: string, discard = async () => undefined as void) =>
  (): StagedWrite => {
    log.push(`${name} staged`);
    return {
      durable: Promise.resolve(),
      commit: async () => void log.push(`${name} committed`),
      discard: async () => {
        await Promise.resolve();
        log.push(`${name} discarded`);
        await discard();
      },
    };
  };

describe('stageInOrder', () => {
  const failing = (): StagedWrite => {
    throw new Error('no space');
  };

  it('commits in the order given', async () => {
    const log: string[] = [];
    await (await stageInOrder([part(log, 'pools'), part(log, 'journal')])).commit();
    expect(log).toEqual(['pools staged', 'journal staged', 'pools committed', 'journal committed']);
  });

  it('discards the earlier writes and starts no later write if a write cannot be staged', async () => {
    const log: string[] = [];
    await expect(stageInOrder([part(log, 'map'), failing, part(log, 'journal')])).rejects.toThrow('no space');
    expect(log).toEqual(['map staged', 'map discarded']);
  });

  it('throws UnexpectedContentError if an earlier write cannot be discarded', async () => {
    const broken = part([], 'map', () => Promise.reject(new Error('EIO')));
    await expect(stageInOrder([broken, failing])).rejects.toThrow(UnexpectedContentError);
  });
  it('discards in the opposite order, so that the record goes before what it describes', async () => {
    const log: string[] = [];
    await (await stageInOrder([part(log, 'pools'), part(log, 'map'), part(log, 'journal')])).discard();
    expect(log.slice(3)).toEqual(['journal discarded', 'map discarded', 'pools discarded']);
  });
});

describe('stageAll', () => {
  it('discards one part after the other, in the given order, also after one that fails', async () => {
    const log: string[] = [];
    const slow = part(log, 'files', () => new Promise((resolve) => setImmediate(resolve)));
    const broken = part(log, 'audit', () => Promise.reject(new Error('EIO')));
    const parts = [slow, broken, part(log, 'history')].map(async (stage) => {
      const staged = stage();
      return {
        ...staged,
        discard: () => staged.discard().finally(() => log.push('settled')),
      };
    });
    await expect((await stageAll(parts)).discard()).rejects.toThrow('EIO');
    expect(log.slice(3)).toEqual([
      'files discarded',
      'settled',
      'audit discarded',
      'settled',
      'history discarded',
      'settled',
    ]);
  });
});
