import { describe, expect, it } from 'vitest';
import { LABEL_FILTER, labelsRule } from './labels.js';

describe('labels', () => {
  it.each([
    ['a control character', 'a\nb'],
    ['half a character, which readers of JSON refuse', 'x\ud800y'],
    ['256 characters', 'x'.repeat(256)],
    ['nothing', ''],
  ])('refuse a value with %s', (_, value) => {
    expect(labelsRule({ key: value }, [])).toBeDefined();
    expect(`key=${value}`).not.toMatch(LABEL_FILTER);
  });

  it('can be filtered by each value that is allowed', () => {
    for (const value of ['web', '1', '😀'.repeat(200), 'a=b']) {
      expect(labelsRule({ key: value }, [])).toBeUndefined();
      expect(`key=${value}`).toMatch(LABEL_FILTER);
    }
  });
});
