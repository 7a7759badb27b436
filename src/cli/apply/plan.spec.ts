import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import { Draft } from '../../model/draft.js';
import { type Pool, State } from '../../model/state.js';
import { exportText } from '../../transfer/export.service.js';
import { applyPuts } from '../../transfer/put-import.js';
import { parsePutRecord, type PutRecord } from '../../transfer/put-record.js';
import { stateOfExport } from './exported-state.js';
import { importLines, isEmptyPlan, planApply } from './plan.js';

const SUITE_LIMITS = { pools: { count: 50, dynamic: false }, slots: 5, now: 0 };

function recordsOf(bodies: Record<string, object>): PutRecord[] {
  return Object.entries(bodies).map(([domain, body], index) =>
    parsePutRecord(index + 1, { ...body, domain }),
  );
}

/** What the suite does with the lines of an import with mode=put. */
function applied(state: State, lines: string): State {
  const records = lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line, index) => parsePutRecord(index + 1, JSON.parse(line)));
  const draft = new Draft(state);
  applyPuts(draft, records, SUITE_LIMITS, (line, code, message) => {
    throw new Error(`line ${line}: ${code} ${message}`);
  });
  const after = new State(0, state.pools);
  after.apply(draft, 1);
  return after;
}

const server = (ip: string, http_port = 80, weight = 1) => ({
  ip,
  http_port,
  weight,
  state: 'ready' as const,
});
const STATE = new State(0, [
  [
    'pool_1',
    {
      domains: ['a.test', 'www.a.test'],
      servers: new Map([
        [1, server('10.0.0.1')],
        [2, server('10.0.0.2')],
      ]),
    },
  ],
  ['pool_2', { domains: ['b.test'], servers: new Map([[1, server('10.0.0.3')]]) }],
  ['be_own', { domains: ['own.test'], servers: new Map(), external: true }],
]);

describe('planApply', () => {
  it('says what is created, changed and removed, and for which other domains', () => {
    const records = recordsOf({
      'a.test': {
        servers: [
          { ip: '10.0.0.1', weight: 5 },
          { ip: '10.0.0.9', http_port: 8080 },
        ],
      },
      'b.test': { share_with: 'own.test' },
      'own.test': { backend: 'be_own' },
      'new.test': { share_with: 'later.test' },
      'later.test': { ip: '10.0.0.4' },
      'kept.test': {},
    });
    const kept = new State(0, [
      ...STATE.pools,
      ['pool_3', { domains: ['kept.test', 'gone.test'], servers: new Map() }],
    ]);
    expect(planApply(records, kept, { prune: true })).toEqual({
      created: [
        {
          domain: 'new.test',
          shared_with: 'later.test',
          servers: [{ address: '10.0.0.4:80', weight: 1, state: 'ready' }],
        },
        {
          domain: 'later.test',
          shared_with: 'new.test',
          servers: [{ address: '10.0.0.4:80', weight: 1, state: 'ready' }],
        },
      ],
      changed: [
        {
          domain: 'a.test',
          before: {
            shared_with: 'www.a.test',
            servers: [
              { address: '10.0.0.1:80', weight: 1, state: 'ready' },
              { address: '10.0.0.2:80', weight: 1, state: 'ready' },
            ],
          },
          after: {
            servers: [
              { address: '10.0.0.1:80', weight: 5, state: 'ready' },
              { address: '10.0.0.9:8080', weight: 1, state: 'ready' },
            ],
          },
          moved: false,
          also_changed: [],
        },
        {
          domain: 'b.test',
          before: { servers: [{ address: '10.0.0.3:80', weight: 1, state: 'ready' }] },
          after: { backend: 'be_own', servers: [] },
          moved: true,
          also_changed: [],
        },
      ],
      removed: [
        { domain: 'gone.test', shared_with: 'kept.test', servers: [] },
        { domain: 'www.a.test', shared_with: 'a.test', servers: expect.any(Array) as object[] },
      ],
      unchanged: 2,
      problems: [],
      warnings: [],
    });
    const [shared] = planApply(recordsOf({ 'a.test': { servers: [] } }), STATE, { prune: false }).changed;
    expect(shared?.also_changed).toEqual(['www.a.test']);
  });

  it('leaves out a domain that is not there and whose time has passed, and refuses a time that has passed for one that is there', () => {
    const now = Date.parse('2026-06-01T12:00:00Z');
    const expires_at = '2026-06-01T11:00:00Z';
    const state = new State(
      0,
      [
        ['pool_1', { domains: ['there.test'], servers: new Map() }],
        ['pool_2', { domains: ['due.test'], servers: new Map() }],
      ],
      [['due.test', { expires_at }]],
    );
    const files = [
      { domain: 'gone.test', ip: '10.0.0.1', expires_at },
      { domain: 'there.test', expires_at },
      { domain: 'due.test', expires_at },
    ].map((value, index) => parsePutRecord(index + 1, value));
    const has = `its expires_at ${expires_at} has passed, so`;
    expect(planApply(files, state, { prune: false, now })).toMatchObject({
      created: [],
      changed: [],
      problems: [{ line: 2, message: expect.stringContaining('must be in the future') as string }],
      warnings: [{ line: 1, message: `gone.test: ${has} it is not added` }],
    });
    const sharer = parsePutRecord(4, { domain: 'www.test', share_with: 'gone.test' });
    expect(planApply([...files, sharer], state, { prune: false, now }).problems).toMatchObject([
      { line: 2 },
      {
        line: 4,
        message: expect.stringContaining('gone.test is not added, because its expires_at') as string,
      },
    ]);
  });

  it('is empty if nothing changes, also for a domain whose body is empty', () => {
    const records = recordsOf({
      'a.test': {},
      'b.test': { ip: '10.0.0.3' },
      'own.test': { backend: 'be_own' },
    });
    const plan = planApply(records, STATE, { prune: false });
    expect([isEmptyPlan(plan), plan.unchanged, plan.problems]).toEqual([true, 3, []]);
  });

  it.each([
    ['a domain that does not exist', { 'x.test': { share_with: 'y.test' } }, 1, /no domain y\.test/],
    [
      'a domain that --prune removes',
      { 'x.test': { share_with: 'b.test' } },
      1,
      /no file has b\.test, and --prune removes it/,
    ],
    ['itself', { 'x.test': { share_with: 'x.test' } }, 1, /circle: x\.test → x\.test/],
    [
      'a circle',
      { 'x.test': { share_with: 'y.test' }, 'y.test': { share_with: 'x.test' } },
      1,
      /circle: x\.test → y\.test → x\.test/,
    ],
  ])('refuses share_with of %s', (_, bodies, line, message) => {
    const { problems } = planApply(recordsOf(bodies), STATE, { prune: true });
    expect(problems).toEqual([{ line, message: expect.stringMatching(message) as string }]);
  });

  it('names only the first of several domains that cannot be put because they share with each other', () => {
    const records = recordsOf({
      'c.test': { share_with: 'd.test' },
      'd.test': { share_with: 'e.test' },
      'e.test': { share_with: 'missing.test' },
    });
    expect(planApply(records, STATE, { prune: false }).problems).toEqual([
      { line: 3, message: expect.stringMatching(/no domain missing\.test/) as string },
    ]);
  });

  it('refuses different servers for two domains of one pool, which would change with every apply', () => {
    const records = recordsOf({
      'a.test': { servers: [{ ip: '10.0.0.1' }] },
      'www.a.test': { servers: [{ ip: '10.0.0.2' }] },
    });
    expect(planApply(records, STATE, { prune: false }).problems).toEqual([
      {
        line: 2,
        message: expect.stringMatching(/^www\.a\.test and a\.test \(line 1\) share pool_1/) as string,
      },
    ]);
  });

  it('apply(plan(a, b)) is b, and the second plan is empty', () => {
    const names = fc.constantFrom('a.test', 'b.test', 'c.test', 'd.test', '*.e.test', 'f.test', 'g.test');
    const spec = fc.record({
      ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '::1'),
      http_port: fc.constantFrom(80, 81),
      weight: fc.nat(2),
      state: fc.constantFrom('ready' as const, 'maint' as const),
    });
    const servers = fc.uniqueArray(spec, {
      maxLength: 4,
      selector: ({ ip, http_port }) => `${ip} ${http_port}`,
    });
    const current = fc
      .uniqueArray(names)
      .chain((domains) =>
        fc.tuple(
          fc.constant(domains),
          fc.array(fc.nat(3), { minLength: domains.length, maxLength: domains.length }),
          fc.array(servers, { minLength: 4, maxLength: 4 }),
        ),
      )
      .map(([domains, places, specs]) => {
        const pools = new Map<string, Pool & { domains: string[] }>();
        for (const [index, domain] of domains.entries()) {
          const place = places[index]!;
          const name = `pool_${place + 1}`;
          const pool = pools.get(name) ?? {
            domains: [],
            servers: new Map(specs[place]!.map((one, slot) => [slot + 1, one])),
          };
          pool.domains.push(domain);
          pools.set(name, pool);
        }
        return new State(0, pools);
      });
    const desired = fc.uniqueArray(fc.tuple(names, servers, fc.option(fc.nat(6))), {
      selector: ([name]) => name,
    });
    let empty = 0;
    fc.assert(
      fc.property(current, desired, fc.boolean(), (state, wanted, prune) => {
        const bodies = Object.fromEntries(
          wanted.map(([domain, list, share], index) => {
            const target = share === null || share >= index ? undefined : wanted[share]![0];
            return [domain, target === undefined ? { servers: list } : { share_with: target }];
          }),
        );
        const records = recordsOf(bodies);
        // The command reads the state from an export.
        const first = planApply(records, stateOfExport([...exportText(state, 'ndjson')].join('')), { prune });
        // Domains of one pool that the files take apart: refused.
        fc.pre(first.problems.length === 0);
        const after = applied(state, importLines(records, first));
        for (const [domain, body] of Object.entries(bodies)) {
          const pool = after.pool(after.poolOf(domain)!)!;
          if ('share_with' in body) expect(after.poolOf(domain)).toBe(after.poolOf(body.share_with!));
          else expect(new Set([...pool.servers.values()])).toEqual(new Set(body.servers));
        }
        const others = state.sortedDomains().filter((domain) => !(domain in bodies));
        expect(others.map((domain) => after.poolOf(domain))).toEqual(
          others.map((domain) => (prune ? undefined : state.poolOf(domain))),
        );
        const second = planApply(records, after, { prune });
        expect([isEmptyPlan(second), second.problems, second.unchanged]).toEqual([true, [], records.length]);
        if (isEmptyPlan(first)) {
          empty += 1;
          expect([...after.pools]).toEqual([...state.pools]);
        }
      }),
      { numRuns: scaled(500, 150) },
    );
    expect(empty).toBeGreaterThan(0);
  });
});
