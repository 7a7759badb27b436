import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeFile } from './describe-plan.js';

/** How many of `lines` are missing in `others`. */
function missing(lines: readonly string[], others: readonly string[]): number {
  const left = [...others];
  return lines.filter((line) => {
    const index = left.indexOf(line);
    if (index >= 0) left.splice(index, 1);
    return index < 0;
  }).length;
}

describe('describeFile', () => {
  it('counts added and removed lines anywhere in the text', () => {
    const line = fc.constantFrom('a', 'b', 'ab', 'ba', 'aa', '');
    const text = fc.array(line, { maxLength: 8 }).map((lines) => lines.map((one) => `${one}\n`).join(''));
    fc.assert(
      fc.property(text, text, (before, after) => {
        const [old, fresh] = [before.split('\n'), after.split('\n')];
        const expected =
          before === after
            ? undefined
            : `f: ${missing(fresh, old)} line(s) added, ${missing(old, fresh)} removed`;
        expect(describeFile('f', before, after)?.text).toBe(expected);
      }),
    );
  });

  it('finds one added line among 100,000', () => {
    const lines = Array.from({ length: 100_000 }, (_, n) => `name-${n}.test pool_1\n`);
    const after = [...lines.slice(0, 70_000), 'new.test pool_2\n', ...lines.slice(70_000)].join('');
    expect(describeFile('f', lines.join(''), after)?.text).toBe('f: 1 line(s) added, 0 removed');
  });
});
