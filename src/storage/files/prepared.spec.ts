import { describe, expect, it } from 'vitest';
import { UnexpectedContentError } from './in-place.js';
import { type Prepared, preparedInOrder } from './prepared.js';

describe('preparedInOrder', () => {
  const part =
    (told: string[], name: string, discard = async () => undefined as void) =>
    (): Prepared => {
      told.push(`${name} begun`);
      return {
        durable: Promise.resolve(),
        commit: async () => void told.push(`${name} committed`),
        discard: async () => {
          told.push(`${name} discarded`);
          await discard();
        },
      };
    };
  const noRoom = (): Prepared => {
    throw new Error('no room');
  };

  it('commits in the order given', async () => {
    const told: string[] = [];
    await (await preparedInOrder([part(told, 'pools'), part(told, 'journal')])).commit();
    expect(told).toEqual(['pools begun', 'journal begun', 'pools committed', 'journal committed']);
  });

  it('takes back what was begun, and begins nothing after what cannot be', async () => {
    const told: string[] = [];
    await expect(preparedInOrder([part(told, 'map'), noRoom, part(told, 'journal')])).rejects.toThrow(
      'no room',
    );
    expect(told).toEqual(['map begun', 'map discarded']);
  });

  it('asks for everything to be written anew where what was begun cannot be taken back', async () => {
    const broken = part([], 'map', () => Promise.reject(new Error('EIO')));
    await expect(preparedInOrder([broken, noRoom])).rejects.toThrow(UnexpectedContentError);
  });
});
