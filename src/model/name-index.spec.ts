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
        needle: fc.constantFrom(
          '',
          'a',
          '1',
          '99',
          'shop1',
          'test',
          'none',
          '.t',
          'y1499.test',
          'test\n',
          't\nmany',
        ),
        from: fc.constantFrom('*/', 'b', 'zz'),
        limit: fc.constantFrom(1, 7, 400, 1000),
      },
      { requiredKeys: ['limit'] },
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 5 }), query, (changes, asked) => {
        const names = new Set(many);
        const index = new NameIndex(many.toSorted());
        const found = (needle?: string, from = '') =>
          [...names].filter((one) => one.includes(needle ?? '') && one >= from).toSorted();
        for (const { added, removed } of changes) {
          const gone = [...new Set(removed)].filter((one) => names.has(one));
          const fresh = [...new Set(added)].filter((one) => gone.includes(one) || !names.has(one));
          // Known from the page before, and counted anew.
          for (const needle of [asked.needle, 'any', 'b1'])
            expect(index.page({ ...asked, needle, limit: 1 }).total).toBe(found(needle, asked.from).length);
          expect(index.change(fresh, gone)).toBe(true);
          for (const one of gone) names.delete(one);
          for (const one of fresh) names.add(one);
        }
        const wanted = found(asked.needle, asked.from);
        const paged: string[] = [];
        for (let more = true; more;) {
          const page = index.page({ ...asked, after: paged.at(-1) });
          expect(page.total).toBe(wanted.length);
          expect(page.items.length).toBeLessThanOrEqual(asked.limit);
          paged.push(...page.items);
          ({ more } = page);
        }
        expect(paged).toEqual(wanted);
      }),
      { numRuns: 60 },
    );
  });

  it('says when it is to be made anew', () => {
    const names = Array.from({ length: 100 }, (_, n) => `n${n}.test`);
    expect(new NameIndex([]).change(names, [])).toBe(false);
  });
});
