import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import { NameIndex } from './name-index.js';

const name = fc
  .tuple(fc.constantFrom('a', 'b', 'shop', '*.'), fc.nat({ max: 2000 }))
  .map(([word, number]) => `${word}${number}.test`);

describe('NameIndex', () => {
  it('returns the same names as a filter, page by page, after any changes', () => {
    const many = Array.from({ length: 1500 }, (_, n) => `many${n}.test`);
    const change = fc.record({
      added: fc.array(name, { maxLength: 30 }),
      removed: fc.array(name, { maxLength: 30 }),
    });
    const queries = fc.record(
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
      fc.property(fc.array(change, { maxLength: 5 }), queries, (changes, query) => {
        const names = new Set(many);
        const index = new NameIndex(many.toSorted());
        const found = (needle?: string, from = '') =>
          [...names].filter((one) => one.includes(needle ?? '') && one >= from).toSorted();
        for (const { added, removed } of changes) {
          const absent = [...new Set(removed)].filter((one) => names.has(one));
          const fresh = [...new Set(added)].filter((one) => absent.includes(one) || !names.has(one));
          // The first total is cached from the page before; the others are counted.
          for (const needle of [query.needle, 'any', 'b1'])
            expect(index.page({ ...query, needle, limit: 1 }).total).toBe(found(needle, query.from).length);
          expect(index.change(fresh, absent)).toBe(true);
          for (const one of absent) names.delete(one);
          for (const one of fresh) names.add(one);
        }
        const expected = found(query.needle, query.from);
        const paged: string[] = [];
        for (let more = true; more;) {
          const page = index.page({ ...query, after: paged.at(-1) });
          expect(page.total).toBe(expected.length);
          expect(page.items.length).toBeLessThanOrEqual(query.limit);
          paged.push(...page.items);
          ({ more } = page);
        }
        expect(paged).toEqual(expected);
      }),
      { numRuns: scaled(60, 20) },
    );
  });

  it('refuses more than 64 changes', () => {
    const names = Array.from({ length: 100 }, (_, n) => `n${n}.test`);
    expect(new NameIndex([]).change(names, [])).toBe(false);
  });
});
