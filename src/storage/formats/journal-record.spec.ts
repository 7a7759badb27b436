import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import type { PoolServers } from '../../model/server.js';
import {
  includesRecords,
  type JournalRecord,
  parseRecord,
  recordOf,
  renderRecord,
  replay,
} from './journal-record.js';
import { Draft } from '../../model/draft.js';
import { State } from '../../model/state.js';

const POOLS = 4;
const NAMES = ['a.io', 'b.io', 'c.io', '*.a.io', 'd.example.com', 'e.example.com'];

/** One edit of a draft. `act` skips an edit that the draft does not allow. */
type Action =
  | { do: 'add'; domain: string; pool: number }
  | { do: 'remove'; domain: string }
  | { do: 'serve'; pool: number; slot: number; weight: number }
  | { do: 'point'; domain: string; backend: string }
  | { do: 'options'; pool: number; retries: number | undefined }
  | { do: 'site'; domain: string; https: string | undefined };

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({
    do: fc.constant('add' as const),
    domain: fc.constantFrom(...NAMES),
    pool: fc.integer({ min: 1, max: POOLS }),
  }),
  fc.record({ do: fc.constant('remove' as const), domain: fc.constantFrom(...NAMES) }),
  fc.record({
    do: fc.constant('serve' as const),
    pool: fc.integer({ min: 1, max: POOLS }),
    slot: fc.integer({ min: 1, max: 3 }),
    weight: fc.integer({ min: 0, max: 256 }),
  }),
  fc.record({
    do: fc.constant('point' as const),
    domain: fc.constantFrom(...NAMES),
    backend: fc.constantFrom('be_static', 'api.v1:x'),
  }),
  fc.record({
    do: fc.constant('options' as const),
    pool: fc.integer({ min: 1, max: POOLS }),
    retries: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
  }),
  fc.record({
    do: fc.constant('site' as const),
    domain: fc.constantFrom(...NAMES),
    https: fc.option(fc.constantFrom('none', 'redirect'), { nil: undefined }),
  }),
);

function act(draft: Draft, one: Action): void {
  if (one.do === 'add') {
    if (draft.poolOf(one.domain) === undefined) draft.addDomain(one.domain, `pool_${one.pool}`);
  } else if (one.do === 'remove') {
    if (draft.poolOf(one.domain) !== undefined) draft.removeDomain(one.domain);
  } else if (one.do === 'point') {
    if (draft.poolOf(one.domain) === undefined) draft.addDomain(one.domain, one.backend, true);
  } else if (one.do === 'options') {
    const pool = draft.pool(`pool_${one.pool}`);
    if (!pool) return;
    const { domains, servers } = pool;
    const options = one.retries === undefined ? {} : { options: { retries: one.retries } };
    draft.replacePools(new Map([[`pool_${one.pool}`, { domains, servers, ...options }]]));
  } else if (one.do === 'site') {
    if (draft.poolOf(one.domain) === undefined) return;
    draft.setSite(one.domain, one.https === undefined ? undefined : { https: one.https });
  } else if (draft.pool(`pool_${one.pool}`)) {
    draft.putServer(`pool_${one.pool}`, one.slot, {
      ip: '10.0.0.1',
      http_port: 80,
      weight: one.weight,
      state: 'ready',
    });
  }
}

/** The content of a state without the order of the domains in a pool. */
function contentOf(state: State): object {
  const pools = [...state.pools].map(([name, { domains, servers, ...rest }]): [string, object] => [
    name,
    { domains: domains.toSorted(), servers: asObject(servers), ...rest },
  ]);
  return {
    revision: state.revision,
    pools: Object.fromEntries(pools),
    sites: Object.fromEntries(state.sites),
    external: [...state.externalPools].toSorted(),
  };
}

function asObject(servers: PoolServers): object {
  return Object.fromEntries(servers);
}

describe('replay', () => {
  it('rebuilds the state of the original commits from their rendered records', () => {
    fc.assert(
      fc.property(fc.array(fc.array(action, { maxLength: 6 }), { maxLength: 8 }), (changes) => {
        const [live, replayed] = [new State(1), new State(1)];
        const records: JournalRecord[] = [];
        for (const [index, actions] of changes.entries()) {
          const draft = new Draft(live);
          for (const one of actions) act(draft, one);
          const line = renderRecord(recordOf(draft, live, index + 2));
          live.apply(draft, index + 2);
          const record = parseRecord(line);
          records.push(record);
          replay(record, replayed);
          expect(contentOf(replayed)).toEqual(contentOf(live));
          expect(includesRecords(replayed, records)).toBe(true);
        }
      }),
      { numRuns: scaled(2000, 300) },
    );
  });
});

describe('replay of a record that servers.json could not hold', () => {
  it.each([
    [{ from: 1, to: 2, domains: [['a.io', 'pool_x']], servers: [] }, /is not pool_1/],
    [{ from: 1, to: 2, domains: [], servers: [], sites: [['a.io', {}]] }, /which no pool has/],
    [
      {
        from: 1,
        to: 2,
        domains: [['a.io', 'web']],
        servers: [],
        pools: [['web', { external: true, options: { retries: 1 } }]],
      },
      /has servers or options/,
    ],
  ])('refuses %j', (record, reason) => {
    expect(() => replay(parseRecord(JSON.stringify(record)), new State(1))).toThrow(reason);
  });
});

describe('parseRecord', () => {
  it.each([
    [{ from: 1, to: 2, domains: [['a b', 'pool_1']], servers: [] }, /is not a domain/],
    [{ from: 1, to: 2, domains: [['a.io', 'pool 1']], servers: [] }, /is not the name of a backend/],
    [{ from: 1, to: 2, domains: [], servers: [], pools: [['web', { x: 1 }]] }, /unknown key "x"/],
    [{ from: 1, to: 2, domains: [], servers: [], sites: [['a.io', { x: 1 }]] }, /x is not a known key/],
    [
      { from: 1, to: 2, domains: [], servers: [], sites: [['a.io', { deny: ['10.0.0.1/8'] }]] },
      /deny\.0 has bits after the prefix/,
    ],
    [
      { from: 1, to: 2, domains: [['a.io', 'pool_1']], servers: [['pool_1', { 1: { ip: 'x' } }]] },
      /has no key|is not/,
    ],
    [{ from: 1, to: 2, domains: [], servers: [], more: 1 }, /unknown key/],
    [{ from: 1, to: 2, domains: 'a.io' }, /has no key/],
    [{ from: -1, to: 2, domains: [], servers: [] }, /from/],
  ])('refuses %j', (record, reason) => {
    expect(() => parseRecord(JSON.stringify(record))).toThrow(reason);
  });
});
