import { describe, expect, it } from 'vitest';
import { type StagedWrite, stageInOrder, UnexpectedContentError } from './staged-write.js';

describe('stageInOrder', () => {
  const part =
    (log: string[], name: string, discard = async () => undefined as void) =>
    (): StagedWrite => {
      log.push(`${name} staged`);
      return {
        durable: Promise.resolve(),
        commit: async () => void log.push(`${name} committed`),
        discard: async () => {
          log.push(`${name} discarded`);
          await discard();
        },
      };
    };
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
});
