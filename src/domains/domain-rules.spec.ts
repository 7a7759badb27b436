import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWildcard } from '../model/names/domain-name.js';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import { describeDomain } from '../model/domain-view.js';
import { domainPage, renameDomain } from './domain-rules.js';
import { ListDomainsDto, PutDomainDto } from './domains.dto.js';
import { putDomain } from './put-rules.js';

const NAMES = Array.from({ length: 3000 }, (_, n) => (n % 7 === 0 ? `*.w${n}.test` : `d${n * 7919}.test`));
const STATE = new State(1, [
  ['pool_1', { domains: NAMES.slice(0, 40), servers: new Map() }],
  ['pool_2', { domains: NAMES.slice(40, 2500), servers: new Map() }],
  ['pool_3', { domains: NAMES.slice(2500), servers: new Map() }],
]);

function query(input: Partial<ListDomainsDto>): ListDomainsDto {
  return Object.assign(new ListDomainsDto(), input);
}

describe('domainPage', () => {
  it('returns each matching domain once and in order, for any filter and page size', () => {
    const input = fc.record(
      {
        include_wildcards: fc.boolean(),
        search: fc.constantFrom('W', '79', 'd1', 'none'),
        pool: fc.constantFrom('pool_1', 'pool_2', 'pool_3', 'pool_4'),
        limit: fc.constantFrom(7, 100, 1000),
      },
      { requiredKeys: ['limit'] },
    );
    fc.assert(
      fc.property(input, (filter) => {
        const expected = NAMES.filter(
          (name) =>
            (filter.include_wildcards === true || !isWildcard(name)) &&
            (filter.search === undefined || name.includes(filter.search.toLowerCase())) &&
            (filter.pool === undefined || STATE.poolOf(name) === filter.pool),
        ).toSorted();
        const found: string[] = [];
        let cursor: string | null | undefined;
        do {
          const page = domainPage(STATE, query({ ...filter, ...(cursor && { cursor }) }), 0);
          expect(page.total).toBe(expected.length);
          found.push(...page.items);
          cursor = page.next_cursor;
        } while (cursor !== null);
        expect(found).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('finds domains by label and expiry, with few and with many others', () => {
    const now = Date.parse('2026-06-01T12:00:00Z');
    const sites: [string, Record<string, unknown>][] = [
      ['m2.test', { labels: { team: 'web' }, expires_at: '2026-06-01T11:00:00Z' }],
      ['*.m1.test', { labels: { team: 'web', constructor: 'x' } }],
      ['m0.test', { labels: { team: 'a=b' }, expires_at: '2026-06-01T13:00:00Z' }],
      ['m3.test', { https: 'redirect' }],
    ];
    const names = sites.map(([name]) => name);
    for (const others of [0, 100]) {
      const domains = [...names, ...Array.from({ length: others }, (_, n) => `o${n}.test`)];
      const state = new State(1, [['pool_1', { domains, servers: new Map() }]], sites);
      const found = (filter: Partial<ListDomainsDto>) =>
        domainPage(state, query({ include_wildcards: true, ...filter }), now).items;
      expect(found({ label: 'team' })).toEqual(['*.m1.test', 'm0.test', 'm2.test']);
      expect(found({ label: 'team', include_wildcards: false, limit: 1 })).toEqual(['m0.test']);
      expect(found({ label: 'team=web', search: 'M2' })).toEqual(['m2.test']);
      expect(found({ label: 'team=a=b' })).toEqual(['m0.test']);
      expect([found({ label: 'toString' }), found({ label: 'constructor' })]).toEqual([[], ['*.m1.test']]);
      expect([found({ expires_within: '1m' }), found({ expires_within: '1h' })]).toEqual([
        ['m2.test'],
        ['m0.test', 'm2.test'],
      ]);
      expect(found({ label: 'team', pool: 'pool_2' })).toEqual([]);
    }
  });

  it('returns the new domains after each change of the state', () => {
    const state = new State(1, [['pool_1', { domains: ['b.test'], servers: new Map() }]]);
    expect(domainPage(state, query({}), 0).items).toEqual(['b.test']);
    const draft = new Draft(state);
    draft.addDomain('a.test', 'pool_1');
    draft.removeDomain('b.test');
    draft.addDomain('c.test', 'pool_2');
    state.apply(draft, 2);
    const moved = new Draft(state);
    moved.removeDomain('c.test');
    moved.addDomain('c.test', 'pool_1');
    state.apply(moved, 3);
    expect(domainPage(state, query({}), 0).items).toEqual(['a.test', 'c.test']);
  });

  it('counts the domains of a large pool after changes of few and of many domains', () => {
    const state = new State(1, [
      ['pool_1', { domains: NAMES.slice(0, 1500), servers: new Map() }],
      ['pool_2', { domains: ['other.test'], servers: new Map() }],
    ]);
    const totals = () =>
      ['pool_1', 'pool_2', undefined].map((pool) => {
        const filter = query({ include_wildcards: true, limit: 1000, ...(pool !== undefined && { pool }) });
        return domainPage(state, filter, 0).total;
      });
    expect(totals()).toEqual([1500, 1, 1501]);
    for (const [count, expected] of [
      [1, [1499, 2, 1501]],
      [80, [1419, 82, 1501]],
    ] as const) {
      const draft = new Draft(state);
      for (let n = 0; n < count; n += 1) {
        draft.addDomain(`new-${count}-${n}.test`, 'pool_1');
        const moved = state.pool('pool_1')?.domains[n] ?? '';
        draft.removeDomain(moved);
        draft.addDomain(moved, 'pool_2');
        draft.removeDomain(state.pool('pool_1')?.domains[count + n] ?? '');
        draft.addDomain(`more-${count}-${n}.test`, 'pool_1');
      }
      for (let n = 0; n < count; n += 1) draft.removeDomain(`more-${count}-${n}.test`);
      state.apply(draft, state.revision + 1);
      expect(totals()).toEqual(expected);
    }
  });
});

describe('describeDomain', () => {
  it('names the first other domains of a large pool, and not the domain itself', () => {
    const described = describeDomain(STATE, NAMES[41]!, 10);
    expect(described.shared_with).toEqual([NAMES[40], ...NAMES.slice(42, 51)]);
    expect(described.shared_count).toBe(2459);
    expect(describeDomain(STATE, NAMES[0]!).shared_with).toHaveLength(39);
  });
});

describe('renameDomain and a move by putDomain', () => {
  const site = { https: 'redirect' };
  const server = { ip: '10.0.0.1', http_port: 80, weight: 3, state: 'ready' } as const;
  const options = { balance: 'leastconn' };
  const state = new State(
    1,
    [
      ['pool_1', { domains: ['a.test', 'b.test'], servers: new Map([[2, server]]), options }],
      ['be_web', { domains: ['web.test'], servers: new Map(), external: true }],
    ],
    [['a.test', site]],
  );
  const after = (edit: (draft: Draft) => void) => {
    const draft = new Draft(state);
    edit(draft);
    return draft;
  };

  it('keep the options of the host, of the pool, and the external pool', () => {
    const renamed = after((draft) => renameDomain(draft, 'a.test', 'new.test'));
    expect(renamed.pool('pool_1')).toEqual({ ...state.pool('pool_1'), domains: ['new.test', 'b.test'] });
    expect([renamed.site('a.test'), renamed.site('new.test')]).toEqual([undefined, site]);
    expect([renamed.poolOf('a.test'), renamed.poolOf('new.test')]).toEqual([undefined, 'pool_1']);
    const web = after((draft) => renameDomain(draft, 'web.test', 'new.test'));
    expect(web.pool('be_web')).toEqual({ ...state.pool('be_web'), domains: ['new.test'] });
    const limits = { pools: { count: 9, dynamic: false }, slots: 10, now: 0 };
    const input = Object.assign(new PutDomainDto(), { domain: 'a.test', share_with: 'web.test' });
    const moved = after((draft) => putDomain(draft, input, limits));
    expect([moved.site('a.test'), moved.poolOf('a.test'), moved.sites.size]).toEqual([site, 'be_web', 0]);
    expect(moved.pool('pool_1')?.domains).toEqual(['b.test']);
  });

  it('show the same names after the change is applied', () => {
    const copy = new State(1, state.pools, state.sites);
    copy.apply(
      after((draft) => renameDomain(draft, 'a.test', 'new.test')),
      2,
    );
    expect(domainPage(copy, query({}), 0).items).toEqual(['b.test', 'new.test', 'web.test']);
    expect([...copy.sites]).toEqual([['new.test', site]]);
  });
});
