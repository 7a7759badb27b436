import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SERVER_STATES } from '../model/server.js';
import { Draft } from '../model/draft.js';
import { State, type Pool } from '../model/state.js';
import { exportText } from './export.service.js';
import { ImportProblems } from './import-problems.js';
import { parseRecord } from './import-record.js';
import { applyImport } from './import-rules.js';
import { summaryOf } from './import-summary.js';

const NOW = Date.parse('2026-06-01T12:00:00Z');
const LIMITS = { pools: { count: 20, dynamic: false }, maxSlots: 5, now: NOW };

function stateOf(pools: Record<string, Pool>): State {
  return new State(7, Object.entries(pools));
}

function imported(
  state: State,
  lines: readonly object[],
  mode: 'merge' | 'replace' = 'merge',
  skipsLines = false,
) {
  const draft = new Draft(state);
  const problems = new ImportProblems(skipsLines);
  const records = lines.map((line, index) => parseRecord(index + 1, line));
  applyImport(draft, records, mode, LIMITS, problems.add);
  problems.check();
  const summary = summaryOf(draft, state);
  const isEmpty = draft.isEmpty;
  const after = new State(0, state.pools);
  after.apply(draft, 8);
  return { pools: Object.fromEntries(after.pools), summary, isEmpty, problems };
}

const SPEC = { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' as const };
const SHOP: Pool = { domains: ['shop.test', 'www.shop.test'], servers: new Map([[2, SPEC]]) };

describe('applyImport, mode=merge', () => {
  it('refuses an expiry of more than 10 years, and takes one that has passed', () => {
    const record = (expires_at: string) => ({ domain: 'a.test', ip: '10.0.0.1', site: { expires_at } });
    for (const mode of ['merge', 'replace'] as const) {
      expect(() => imported(stateOf({}), [record('2036-06-03T00:00:00Z')], mode)).toThrow(
        'site.expires_at must be at most 10 years from now',
      );
      for (const time of ['2036-05-31T00:00:00Z', '2020-01-01T00:00:00Z'])
        expect(imported(stateOf({}), [record(time)], mode).summary.domains_added).toBe(1);
    }
    const skipped = imported(stateOf({}), [record('2126-01-01T00:00:00Z')], 'merge', true);
    expect([skipped.isEmpty, skipped.problems.count]).toEqual([true, 1]);
  });

  it('adds domains with servers, and domains that share with a later line', () => {
    const { pools, summary } = imported(stateOf({ pool_1: SHOP }), [
      { domain: 'b.test', share_with: 'a.test' },
      {
        domain: 'A.test.',
        servers: [{ ip: '10.0.0.2' }, { slot: 1, ip: '10.0.0.3', weight: 9, state: 'drain' }],
      },
      { domain: 'c.test', share_with: 'b.test' },
      { domain: 'd.test', share_with: 'www.shop.test' },
      { domain: 'e.test', ip: '::1', http_port: 8080, pool: 'pool_9' },
    ]);
    expect(pools).toEqual({
      pool_1: { domains: ['shop.test', 'www.shop.test', 'd.test'], servers: SHOP.servers },
      pool_2: {
        domains: ['a.test', 'b.test', 'c.test'],
        servers: new Map([
          [1, { ip: '10.0.0.3', http_port: 80, weight: 9, state: 'drain' }],
          [2, { ...SPEC, ip: '10.0.0.2' }],
        ]),
      },
      pool_9: { domains: ['e.test'], servers: new Map([[1, { ...SPEC, ip: '::1', http_port: 8080 }]]) },
    });
    expect(summary).toMatchObject({ domains_added: 5, domains_removed: 0, servers_added: 3 });
  });

  it('sets the given weight of an existing server, and changes no value that is not given', () => {
    const state = stateOf({ pool_1: SHOP });
    const { pools, summary } = imported(state, [
      { domain: 'shop.test', servers: [{ ip: '10.0.0.1', weight: 5 }] },
    ]);
    expect(pools['pool_1']?.servers).toEqual(new Map([[2, { ...SPEC, weight: 5 }]]));
    expect(summary).toMatchObject({ servers_changed: 1, servers_added: 0 });
    expect(
      imported(state, [{ domain: 'shop.test', ip: '10.0.0.1' }, { domain: 'www.shop.test' }]).isEmpty,
    ).toBe(true);
  });

  it.each([
    [
      'a slot with another address',
      { domain: 'shop.test', servers: [{ slot: 2, ip: '10.0.0.9' }] },
      'slot_taken',
    ],
    ['a domain in another pool', { domain: 'www.shop.test', share_with: 'own.test' }, 'domain_exists'],
    ['share_with with an unknown domain', { domain: 'x.test', share_with: 'y.test' }, 'domain_not_found'],
    [
      'a slot above HAPROXY_MAX_SLOTS',
      { domain: 'x.test', servers: [{ slot: 6, ip: '10.0.0.9' }] },
      'validation_failed',
    ],
    [
      'more servers than slots',
      { domain: 'x.test', servers: [1, 2, 3, 4, 5, 6].map((n) => ({ ip: `10.0.0.${n}` })) },
      'pool_full',
    ],
  ])('refuses %s and names the line', (_, line, code) => {
    const run = () => imported(stateOf({ pool_1: SHOP }), [{ domain: 'own.test' }, line]);
    expect(run).toThrow(
      expect.objectContaining({ code, detail: expect.stringMatching(/^line 2: /) }) as Error,
    );
  });

  it('shows the IPv6 address of a taken slot in brackets', () => {
    const pool: Pool = { domains: ['six.test'], servers: new Map([[1, { ...SPEC, ip: '2001:db8::1' }]]) };
    const line = { domain: 'six.test', servers: [{ slot: 1, ip: '10.0.0.9' }] };
    expect(() => imported(stateOf({ pool_1: pool }), [line])).toThrow(
      expect.objectContaining({ detail: expect.stringContaining('[2001:db8::1]:80') as string }) as Error,
    );
  });

  it('changes nothing of the domain of a skipped line, also not its expiry', () => {
    const state = stateOf({ pool_1: SHOP, pool_2: { domains: ['other.test'], servers: new Map() } });
    const site = { expires_at: '2020-01-01T00:00:00Z' };
    const { isEmpty, problems } = imported(
      state,
      [{ domain: 'shop.test', share_with: 'other.test', site }],
      'merge',
      true,
    );
    expect([problems.count, isEmpty]).toEqual([1, true]);
  });

  it('skips invalid lines with on_error=skip', () => {
    const { pools, problems } = imported(
      stateOf({}),
      [
        { domain: 'a.test', share_with: 'none.test' },
        ...Array.from({ length: 21 }, (_, n) => ({ domain: `d${n}.test` })),
      ],
      'merge',
      true,
    );
    expect(Object.keys(pools)).toHaveLength(20);
    expect(problems.skipped.map(({ line, code }) => [line, code])).toEqual([
      [22, 'pools_exhausted'],
      [1, 'domain_not_found'],
    ]);
  });
});

describe('applyImport, mode=replace', () => {
  it('removes domains that are on no line, and keeps the others in their pool', () => {
    const state = stateOf({ pool_3: SHOP, pool_4: { domains: ['old.test'], servers: new Map([[1, SPEC]]) } });
    const { pools, summary } = imported(
      state,
      [{ domain: 'new.test' }, { domain: 'shop.test', servers: [{ slot: 2, ip: '10.0.0.1' }] }],
      'replace',
    );
    expect(pools).toEqual({
      pool_1: { domains: ['new.test'], servers: new Map() },
      pool_3: { domains: ['shop.test'], servers: SHOP.servers },
    });
    expect(summary).toEqual({
      domains_added: 1,
      domains_moved: 0,
      domains_removed: 2,
      servers_added: 0,
      servers_changed: 0,
      servers_removed: 1,
    });
  });

  it('refuses two lines for one pool', () => {
    const lines = ['a.test', 'b.test'].map((domain) => ({ domain, pool: 'pool_2' }));
    expect(() => imported(stateOf({}), lines, 'replace')).toThrow(
      /line 2: pool_2 is already the pool of line 1/,
    );
  });

  it('restores any export exactly, into the same state and into another state', () => {
    const server = fc.record({
      ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '2001:db8::1'),
      http_port: fc.constantFrom(80, 8080),
      weight: fc.integer({ min: 0, max: 256 }),
      state: fc.constantFrom(...SERVER_STATES),
    });
    const servers = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 5 }), server), {
      selector: ([slot]) => slot,
    });
    const pool = fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 4 }), servers);
    const state = fc.uniqueArray(pool, { maxLength: 6, selector: ([number]) => number }).map((pools) =>
      stateOf(
        Object.fromEntries(
          pools.map(([number, names, slots]) => [
            `pool_${number}`,
            {
              domains: Array.from({ length: names }, (_, n) =>
                n === 1 ? `*.p${number}.test` : `d${n}.p${number}.test`,
              ),
              servers: new Map(slots),
            },
          ]),
        ),
      ),
    );
    fc.assert(
      fc.property(state, fc.constantFrom('ndjson' as const, 'json' as const), (before, format) => {
        const text = [...exportText(before, format)].join('');
        const lines = (
          format === 'json'
            ? JSON.parse(text)
            : text
                .split('\n')
                .filter(Boolean)
                .map((line) => JSON.parse(line) as unknown)
        ) as object[];
        expect(imported(before, lines, 'replace').isEmpty).toBe(true);
        const other = stateOf({ pool_2: { domains: ['other.test', 'd0.p1.test'], servers: new Map() } });
        expect(imported(other, lines, 'replace').pools).toEqual(Object.fromEntries(before.pools));
      }),
      { numRuns: 300 },
    );
  });
});

describe('parseRecord', () => {
  it.each([
    [{ domain: 'x y' }, /^domain must be a domain/],
    [{}, /^domain must be/],
    [
      { domain: 'a.test', weight: 1 },
      /"weight" is not a field here; the fields are domain, share_with, pool, /,
    ],
    [JSON.parse('{"domain":"a.test","__proto__":{}}'), /"__proto__" is not a field here/],
    [{ domain: 'a.test', servers: [{ ip: 'host.test' }] }, /^servers\[0\]\.ip must be a unicast/],
    [
      { domain: 'a.test', servers: [{ ip: '10.0.0.1', weight: 257 }] },
      /^servers\[0\]\.weight must be .* 0 to 256/,
    ],
    [
      { domain: 'a.test', servers: [{ ip: '10.0.0.1', state: 'up' }] },
      /^servers\[0\]\.state must be one of ready/,
    ],
    [{ domain: 'a.test', servers: [{ ip: '10.0.0.1', http_port: 0 }] }, /http_port must be .* 1 to 65535/],
    [
      {
        domain: 'a.test',
        servers: [
          { slot: 1, ip: '10.0.0.1' },
          { slot: 1, ip: '10.0.0.2' },
        ],
      },
      /slot 1 is given twice/,
    ],
    [{ domain: 'a.test', share_with: 'b.test', ip: '10.0.0.1' }, /either share_with .* or ip, not both/],
    [{ domain: 'a.test', ip: '10.0.0.1', servers: [] }, /either ip or servers/],
    [{ domain: 'a.test', pool: 'web' }, /pool must be the name of a pool/],
    [['a.test'], /the line must be a JSON object/],
  ])('refuses %j', (value: unknown, message) => {
    expect(() => parseRecord(1, value)).toThrow(message);
  });
});
