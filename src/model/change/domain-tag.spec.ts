import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { domainTag } from './domain-tag.js';
import type { ServerSpec } from '../server.js';
import { Draft } from '../draft.js';
import { type Pool, State } from '../state.js';

type Site = Record<string, unknown>;

const server: ServerSpec = { ip: '10.0.0.1', http_port: 80, weight: 3, state: 'ready' };
const options = { balance: 'leastconn', timeouts: { connect: 1, server: 2 } };
const site = { https: 'redirect', labels: { team: 'shop', env: 'test' } };

function stateWith(
  { name = 'pool_1', revision = 1, ...pool }: Partial<Pool> & { name?: string; revision?: number } = {},
  siteOf: Site | undefined = site,
): State {
  const full = { domains: ['a.test', 'b.test'], servers: new Map([[1, server]]), options, ...pool };
  const other = { domains: ['other.test'], servers: new Map([[1, server]]) };
  return new State(
    revision,
    [
      [name, full],
      ['pool_9', other],
    ],
    siteOf && [['a.test', siteOf]],
  );
}

/** The same value, with the keys of its objects and the entries of its maps in the opposite order. */
function reversed<T>(value: T): T {
  if (value instanceof Map) return new Map([...value].toReversed()) as T;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).toReversed();
  return Object.fromEntries(entries.map(([key, inner]) => [key, reversed(inner as unknown)])) as T;
}

const servers = fc.uniqueArray(
  fc.tuple(
    fc.integer({ min: 1, max: 5 }),
    fc.record({
      ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '::1'),
      http_port: fc.constantFrom(80, 81),
      weight: fc.constantFrom(0, 1, 256),
      state: fc.constantFrom('ready' as const, 'drain' as const, 'maint' as const),
    }),
  ),
  { selector: ([slot]) => slot },
);
const saved = fc.record({
  others: fc.subarray(['b.test', 'c.test', '*.d.test']),
  servers,
  options: fc.constantFrom(undefined, options, { balance: 'random' }),
  site: fc.constantFrom(undefined, site, { https: 'none' }),
});

describe('domainTag', () => {
  it('is equal exactly for equal saved values, in any order of their fields and of the other domains', () => {
    const build = (
      {
        others,
        servers: given,
        options: poolOptions,
        site: siteOf,
      }: typeof saved extends fc.Arbitrary<infer T> ? T : never,
      reverse: boolean,
    ) => {
      const turn = <T>(value: T) => (reverse ? reversed(value) : value);
      const pool = {
        domains: ['a.test', ...(reverse ? others.toReversed() : others)],
        servers: turn(new Map(given)),
        ...(poolOptions && { options: turn(poolOptions) }),
      };
      return domainTag(
        new State(reverse ? 7 : 1, [['pool_1', pool]], siteOf && [['a.test', turn(siteOf)]]),
        'a.test',
      );
    };
    const textOf = ({
      others,
      servers: given,
      ...rest
    }: object & { others: string[]; servers: [number, unknown][] }) =>
      JSON.stringify([others.toSorted(), given.toSorted(([a], [b]) => a - b), rest]);
    fc.assert(
      fc.property(saved, saved, (one, other) => {
        expect(build(one, true)).toBe(build(one, false));
        expect(build(one, false) === build(other, true)).toBe(textOf(one) === textOf(other));
      }),
      { numRuns: 300 },
    );
  });

  it('is equal after another revision, another pool and empty options, and undefined without a domain', () => {
    const tag = domainTag(stateWith(), 'a.test');
    expect(tag).toMatch(/^[0-9a-f]{24}$/);
    const later = stateWith({ revision: 9 });
    const draft = new Draft(later);
    draft.putServer('pool_9', 2, server);
    draft.addDomain('new.test', 'pool_9');
    draft.setSite('b.test', { https: 'none' });
    expect([domainTag(later, 'a.test'), domainTag(draft, 'a.test')]).toEqual([tag, tag]);
    later.apply(draft, 10);
    expect(domainTag(later, 'a.test')).toBe(tag);
    const bare = new State(1, [['pool_1', { domains: ['a.test'], servers: new Map() }]]);
    const empty = new State(
      1,
      [['pool_1', { domains: ['a.test'], servers: new Map(), options: {} }]],
      [['a.test', {}]],
    );
    expect(domainTag(empty, 'a.test')).toBe(domainTag(bare, 'a.test'));
    expect(domainTag(later, 'none.test')).toBeUndefined();
  });

  it.each<[string, State, string]>([
    ['the name', stateWith(), 'b.test'],
    ['the pool', stateWith({ name: 'pool_2' }), 'a.test'],
    ['an external pool', stateWith({ external: true }), 'a.test'],
    ['the slot', stateWith({ servers: new Map([[2, server]]) }), 'a.test'],
    ['the address', stateWith({ servers: new Map([[1, { ...server, ip: '10.0.0.2' }]]) }), 'a.test'],
    ['the port', stateWith({ servers: new Map([[1, { ...server, http_port: 81 }]]) }), 'a.test'],
    ['the weight', stateWith({ servers: new Map([[1, { ...server, weight: 4 }]]) }), 'a.test'],
    ['the state', stateWith({ servers: new Map([[1, { ...server, state: 'drain' }]]) }), 'a.test'],
    [
      'another server',
      stateWith({
        servers: new Map([
          [1, server],
          [2, server],
        ]),
      }),
      'a.test',
    ],
    ['the options of the pool', stateWith({ options: { balance: 'random' } }), 'a.test'],
    ['the options of the host', stateWith({}, { https: 'none' }), 'a.test'],
    ['a domain that joins the pool', stateWith({ domains: ['a.test', 'b.test', 'c.test'] }), 'a.test'],
    ['a domain that leaves the pool', stateWith({ domains: ['a.test'] }), 'a.test'],
    ['a domain with another name', stateWith({ domains: ['a.test', 'c.test'] }), 'a.test'],
  ])('differs after a change of %s', (_what, changed, domain) => {
    expect(domainTag(changed, domain)).not.toBe(domainTag(stateWith(), 'a.test'));
  });

  it('depends on every other domain of a pool of many, and not on their order', () => {
    const names = Array.from({ length: 300 }, (_, n) => `d${n}.test`);
    const tag = (domains: string[]) => domainTag(stateWith({ domains: ['a.test', ...domains] }), 'a.test');
    expect(tag(names)).not.toBe(tag(names.slice(1)));
    expect(tag(names)).not.toBe(tag(names.slice(0, -1)));
    expect(tag(names)).not.toBe(tag([...names.slice(0, 150), ...names.slice(150).map((one) => `x${one}`)]));
    expect(tag(names)).toBe(tag(names.toReversed()));
  });

  it('is in a draft and after its commit what it is after a start with the same values', () => {
    type Edit = ['add' | 'remove' | 'rename' | 'move' | 'replace', number, number];
    const name = (index: number) => `n${index}.test`;
    const run = (draft: Draft, [kind, one, other]: Edit) => {
      const pool = draft.poolOf(name(one));
      const isOnly = pool !== undefined && draft.pool(pool)?.domains.length === 1;
      if (kind === 'add' && pool === undefined) draft.addDomain(name(one), `pool_${(other % 2) + 1}`);
      if (kind === 'remove' && pool !== undefined) draft.removeDomain(name(one));
      if (kind === 'rename' && pool !== undefined && draft.poolOf(name(other)) === undefined)
        draft.renameDomain(name(one), name(other));
      if (kind === 'move' && pool !== undefined && !isOnly)
        draft.moveDomain(name(one), `pool_${(other % 2) + 1}`);
      const replaced = draft.pool('pool_1');
      if (kind === 'replace' && replaced)
        draft.replacePools(new Map([['pool_1', { ...replaced, domains: replaced.domains.slice(-2) }]]));
    };
    const tags = (state: State | Draft) =>
      Array.from({ length: 8 }, (_, index) => [name(index), domainTag(state, name(index))]);
    /** As a start reads it, with the domains of each pool in another order. */
    const restarted = (state: State) =>
      new State(
        1,
        [...state.pools].map(([pool, value]) => [pool, { ...value, domains: value.domains.toReversed() }]),
      );
    const kinds = fc.constantFrom<Edit[0]>('add', 'remove', 'rename', 'move', 'replace');
    const index = fc.integer({ min: 0, max: 7 });
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.tuple(kinds, index, index), { maxLength: 4 }), { maxLength: 8 }),
        (commits) => {
          const state = new State(1);
          for (const edits of commits) {
            const group = new Draft(state);
            for (const edit of edits) {
              const draft = new Draft(group);
              run(draft, edit);
              tags(draft);
              run(draft, ['add', (edit[1] + 1) % 8, edit[2]]);
              tags(draft);
              group.merge(draft);
            }
            const live = tags(group);
            state.apply(group, state.revision + 1);
            expect(tags(state)).toEqual(live);
            expect(tags(restarted(state))).toEqual(live);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
