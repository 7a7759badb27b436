import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SortedNames } from './sorted-names.js';

describe('SortedNames', () => {
  it('returns the sorted names after any changes', () => {
    const set = fc.uniqueArray(fc.string({ maxLength: 3 }), { maxLength: 150 });
    fc.assert(
      fc.property(set, fc.array(set, { maxLength: 5 }), (first, steps) => {
        let now = new Set(first);
        const names = new SortedNames(() => now);
        expect(names.get()).toEqual([...now].toSorted());
        for (const step of steps) {
          const next = new Set(step);
          names.change(
            step.filter((name) => !now.has(name)),
            [...now].filter((name) => !next.has(name)),
          );
          now = next;
          expect(names.get()).toEqual([...now].toSorted());
        }
      }),
    );
  });
});
