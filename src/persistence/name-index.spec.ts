import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NameIndex } from './name-index.js';

const name = fc
  .tuple(fc.constantFrom('a', 'b', 'shop', '*.'), fc.nat({ max: 2000 }))
  .map(([word, number]) => `${word}${number}.test`);

describe('NameIndex', () => {
  it('gives the names that a filter would give, page by page, through changes', () => {
    const many = Array.from({ length: 1500 }, (_, n) => `many${n}.test`);
    const change = fc.record({
      added: fc.array(name, { maxLength: 30 }),
      removed: fc.array(name, { maxLength: 30 }),
    });
    const query = fc.record(
      {
        needle: fc.constantFrom('', 'a', '1', '99', 'shop1', 'test', 'none', '.t', 'y1499.test'),
        from: fc.constantFrom('*/', 'b', 'zz'),
        limit: fc.constantFrom(1, 7, 400, 1000),
      },
      { requiredKeys: ['limit'] },
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 5 }), query, (changes, asked) => {
        const names = new Set(many);
        const index = new NameIndex(many.toSorted());
        for (const { added, removed } of changes) {
          const gone = [...new Set(removed)].filter((one) => names.delete(one));
          const fresh = [...new Set(added)].filter((one) => !names.has(one));
          for (const one of fresh) names.add(one);
          expect(index.change(fresh, gone)).toBe(true);
        }
        const wanted = [...names]
          .filter((one) => one.includes(asked.needle ?? '') && one >= (asked.from ?? ''))
          .toSorted();
        const found: string[] = [];
        for (let more = true; more;) {
          const page = index.page({ ...asked, after: found.at(-1) });
          expect(page.total).toBe(wanted.length);
          expect(page.items.length).toBeLessThanOrEqual(asked.limit);
          found.push(...page.items);
          ({ more } = page);
        }
        expect(found).toEqual(wanted);
      }),
      { numRuns: 60 },
    );
  });

  it('says when it is to be made anew', () => {
    const names = Array.from({ length: 100 }, (_, n) => `n${n}.test`);
    expect(new NameIndex([]).change(names, [])).toBe(false);
  });
});
