import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../errors/app-error.js';
import { changeOf } from '../model/change.js';
import { poolName } from '../model/pool-name.js';
import { Draft, State } from '../model/state.js';
import { lowestFreePool, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import { type Revision, rollBack, undo, withoutTakenBack } from './undo-rules.js';

const LIMIT: PoolLimit = { count: 100, dynamic: false };
const server = (host: number, weight = 1) => ({
  ip: `10.0.0.${host}`,
  http_port: 80,
  weight,
  state: 'ready' as const,
});

/** A state with its history, as PersistenceService keeps both. */
class Recorded {
  readonly state = new State(0);
  readonly revisions: Revision[] = [];
  readonly snapshots = [snapshot(this.state)];

  /** The revision, or undefined if the edit changed nothing. */
  commit(edit: (draft: Draft) => void, operation = 'edit'): number | undefined {
    const draft = new Draft(this.state);
    edit(draft);
    if (draft.isEmpty) return undefined;
    const revision = this.state.revision + 1;
    this.revisions.push({
      revision,
      operation,
      change: changeOf(draft, this.state),
      ...draft.takesBack,
    });
    this.state.apply(draft, revision);
    this.snapshots.push(snapshot(this.state));
    return revision;
  }

  undo(revision: number): number | undefined {
    const [entry, ...later] = this.revisions.slice(revision - 1);
    if (!entry) throw new Error(`no revision ${revision}`);
    return this.commit((draft) => undo(draft, entry, later, LIMIT), 'undo');
  }

  rollBack(revision: number): number | undefined {
    return this.commit(
      (draft) => rollBack(draft, revision, this.revisions.slice(revision), LIMIT),
      'rollback',
    );
  }
}

/** The state as plain data. The order of the domains of a pool does not count. */
function snapshot(state: State): unknown {
  return {
    pools: Object.fromEntries(
      [...state.pools].map(([name, { domains, servers, ...rest }]) => [
        name,
        { ...rest, domains: domains.toSorted(), servers: Object.fromEntries(servers) },
      ]),
    ),
    sites: Object.fromEntries(state.sites),
  };
}

/** Each domain with its servers and options, without the names of the pools. */
function served(state: State): unknown {
  return Object.fromEntries(
    state.sortedDomains().map((domain) => {
      const pool = state.pool(state.poolOf(domain) ?? '');
      return [domain, { servers: Object.fromEntries(pool?.servers ?? []), site: state.site(domain) }];
    }),
  );
}

const add = (domain: string, host?: number) => (draft: Draft) => {
  const pool = lowestFreePool(draft, LIMIT);
  draft.addDomain(domain, pool);
  if (host !== undefined) draft.putServer(pool, 1, server(host));
};
const share = (domain: string, other: string) => (draft: Draft) =>
  draft.addDomain(domain, draft.poolOf(other) ?? '');
const remove = (domain: string) => (draft: Draft) => draft.removeDomain(domain);
const put = (domain: string, slot: number, host: number, weight?: number) => (draft: Draft) =>
  draft.putServer(draft.poolOf(domain) ?? '', slot, server(host, weight));

function conflict(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof AppError && error.code === 'undo_conflict') return error.detail;
    throw error;
  }
  throw new Error('there is no conflict');
}

describe('undo', () => {
  it('puts back a removed domain with its servers and options', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit((draft) => draft.setSite('a.test', { https: 'redirect' }));
    const before = snapshot(one.state);
    const removed = one.commit(remove('a.test')) ?? 0;
    one.undo(removed);
    expect(snapshot(one.state)).toEqual(before);
  });

  it('takes a free pool if another domain has the former pool', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    const removed = one.commit(remove('a.test')) ?? 0;
    one.commit(add('b.test', 2));
    one.undo(removed);
    expect(one.state.poolOf('b.test')).toBe('pool_1');
    expect(one.state.poolOf('a.test')).toBe('pool_2');
    expect(one.state.pool('pool_2')?.servers.get(1)).toEqual(server(1));
  });

  it.each<[string, (one: Recorded) => number, string]>([
    [
      'a later change of the same server',
      (one) => {
        one.commit(add('a.test', 1));
        const undone = one.commit(put('a.test', 1, 1, 5)) ?? 0;
        one.commit(put('a.test', 1, 1, 7));
        return undone;
      },
      'pool_1 slot 1 holds 10.0.0.1:80, weight 7, ready. Later revisions changed this: 3 (edit)',
    ],
    [
      'a domain that came into the pool',
      (one) => {
        const undone = one.commit(add('a.test', 1)) ?? 0;
        one.commit(share('b.test', 'a.test'));
        return undone;
      },
      'b.test is in pool_1 too. Later revisions changed this: 2 (edit)',
    ],
    [
      'a server that came into the pool',
      (one) => {
        const undone = one.commit(add('a.test', 1)) ?? 0;
        one.commit(put('a.test', 2, 2));
        return undone;
      },
      'pool_1 has another server in slot 2',
    ],
    [
      'a pool that would be left without a domain',
      (one) => {
        one.commit(add('a.test', 1));
        const undone = one.commit(share('b.test', 'a.test')) ?? 0;
        one.commit(remove('a.test'));
        return undone;
      },
      'pool_1 has no other domain any more, and would lose its servers',
    ],
    [
      'a pool that other domains have, with the same server',
      (one) => {
        one.commit(add('a.test', 1));
        const undone = one.commit(put('a.test', 1, 1, 5)) ?? 0;
        one.commit(remove('a.test'));
        one.commit((draft) => {
          draft.addDomain('b.test', 'pool_1');
          draft.putServer('pool_1', 1, server(1, 5));
        });
        return undone;
      },
      'pool_1 belongs to other domains',
    ],
    [
      'options that the domain got',
      (one) => {
        const undone = one.commit(add('a.test', 1)) ?? 0;
        one.commit((draft) => draft.setSite('a.test', { noindex: true }));
        return undone;
      },
      'a.test has options now',
    ],
    [
      'an undo',
      (one) => {
        one.commit(add('a.test', 1));
        const undone = one.commit(remove('a.test')) ?? 0;
        one.undo(undone);
        return undone;
      },
      'Revision 3 has undone it already.',
    ],
  ])('is refused after %s', (_, prepare, text) => {
    const one = new Recorded();
    const revision = prepare(one);
    const before = snapshot(one.state);
    expect(conflict(() => one.undo(revision))).toContain(text);
    expect(snapshot(one.state)).toEqual(before);
  });

  it('is possible again after the later change was undone', () => {
    const one = new Recorded();
    const added = one.commit(add('a.test', 1)) ?? 0;
    const removed = one.commit(remove('a.test')) ?? 0;
    one.undo(removed);
    expect(one.undo(added)).toBe(4);
    expect(one.state.domainCount).toBe(0);
  });

  it('is refused if revisions in between are not known', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    const [entry] = one.revisions;
    const gap: Revision = {
      revision: 9,
      operation: 'start',
      unknown_since: 1,
      change: changeOf(new Draft(one.state), one.state),
    };
    const text = conflict(() => entry && undo(new Draft(one.state), entry, [gap], LIMIT));
    expect(text).toContain('does not have the revisions from 2 to 9');
    expect(conflict(() => rollBack(new Draft(one.state), 0, [entry ?? gap, gap], LIMIT))).toContain(
      'from 2 to 9',
    );
  });
});

describe('withoutTakenBack', () => {
  const none = changeOf(new Draft(new State(0)), new State(0));
  const entries = (...given: Partial<Revision>[]): Revision[] =>
    given.map((one, index) => ({ revision: index + 5, operation: 'x', change: none, ...one }));

  it.each<[string, Revision[], number[]]>([
    ['an undo and what it undid', entries({}, {}, { undoes: 5 }), [6]],
    ['an undo of an undo', entries({}, { undoes: 5 }, { undoes: 6 }), [5]],
    ['an undo of an earlier revision', entries({}, { undoes: 2 }), [5, 6]],
    ['a rollback', entries({}, {}, { rolls_back_to: 5 }, {}), [5, 8]],
    ['a rollback to before', entries({}, { rolls_back_to: 3 }), [5, 6]],
    ['a rollback that was undone', entries({}, {}, { rolls_back_to: 5 }, { undoes: 7 }), [5, 6]],
  ])('leaves out %s', (_, given, expected) => {
    expect(withoutTakenBack(given).map(({ revision }) => revision)).toEqual(expected);
  });
});

const NAMES = ['a.test', 'b.test', 'c.test', 'd.test', 'e.test'];
const anyEdit = fc.record({
  kind: fc.constantFrom(
    'add',
    'share',
    'remove',
    'put',
    'drop',
    'site',
    'rename',
    'move',
    'undo',
    'rollback',
  ),
  domain: fc.constantFrom(...NAMES),
  other: fc.constantFrom(...NAMES),
  slot: fc.integer({ min: 1, max: 3 }),
  value: fc.integer({ min: 1, max: 4 }),
  back: fc.integer({ min: 0, max: 30 }),
});
type AnyEdit = typeof anyEdit extends fc.Arbitrary<infer T> ? T : never;

/** Does the edit if it is possible. Returns whether it did. */
function attempt(one: Recorded, { kind, domain, other, slot, value, back }: AnyEdit): boolean {
  const { state } = one;
  const pool = state.poolOf(domain);
  const revision = 1 + (back % Math.max(1, state.revision));
  try {
    switch (kind) {
      case 'add':
        return pool === undefined && one.commit(add(domain, value)) !== undefined;
      case 'share':
        return (
          pool === undefined &&
          state.poolOf(other) !== undefined &&
          one.commit(share(domain, other)) !== undefined
        );
      case 'remove':
        return pool !== undefined && one.commit(remove(domain)) !== undefined;
      case 'put':
        return pool !== undefined && one.commit(put(domain, slot, value, value)) !== undefined;
      case 'drop':
        if (pool === undefined || !state.pool(pool)?.servers.has(slot)) return false;
        return one.commit((draft) => draft.removeServer(pool, slot)) !== undefined;
      case 'site':
        return (
          pool !== undefined &&
          one.commit((draft) => draft.setSite(domain, { hsts_max_age: value })) !== undefined
        );
      case 'rename':
        if (pool === undefined || state.poolOf(other) !== undefined) return false;
        return one.commit((draft) => draft.renameDomain(domain, other)) !== undefined;
      case 'move': {
        const target = state.poolOf(other);
        if (pool === undefined || target === undefined || target === pool) return false;
        return one.commit((draft) => draft.moveDomain(domain, target)) !== undefined;
      }
      case 'undo':
        return state.revision > 0 && one.undo(revision) !== undefined;
      default:
        return state.revision > 0 && one.rollBack(revision) !== undefined;
    }
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

describe('any history', () => {
  it('is taken back exactly: rollback gives the former state, undo of an undo changes nothing, and the rest stays', () => {
    const counts = { undone: 0, refused: 0 };
    fc.assert(
      fc.property(fc.array(anyEdit, { minLength: 3, maxLength: 30 }), fc.nat(), (edits, choice) => {
        const one = new Recorded();
        for (const edit of edits) attempt(one, edit);
        if (one.state.revision === 0) return;
        const target = choice % (one.state.revision + 1);
        const before = snapshot(one.state);
        const servedBefore = served(one.state);
        const revision = 1 + (choice % one.state.revision);
        const entry = one.revisions[revision - 1];
        let done: number | undefined;
        try {
          done = one.undo(revision);
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== 'undo_conflict') throw error;
          counts.refused += 1;
          expect(snapshot(one.state)).toEqual(before);
        }
        if (done !== undefined && entry) {
          counts.undone += 1;
          expectUntouched(one, entry, servedBefore);
          one.undo(done);
          expect(snapshot(one.state)).toEqual(before);
        }
        one.rollBack(target);
        expect(snapshot(one.state)).toEqual(one.snapshots[target]);
      }),
      { numRuns: 500 },
    );
    expect(counts.undone).toBeGreaterThan(100);
    expect(counts.refused).toBeGreaterThan(30);
  });
});

/** Domains that the revision did not name, and whose pool it did not change, are served as before the undo. */
function expectUntouched(one: Recorded, { change }: Revision, before: unknown): void {
  const pools = new Set(change.servers.map(([pool]) => pool));
  const named = new Set([...change.domains.map(([domain]) => domain), ...change.sites.map(([host]) => host)]);
  const after = served(one.state) as Record<string, unknown>;
  for (const [domain, was] of Object.entries(before as Record<string, unknown>)) {
    const pool = one.state.poolOf(domain) ?? poolName(0);
    if (named.has(domain) || pools.has(pool)) continue;
    if (!isDeepStrictEqual(after[domain], was))
      expect({ domain, is: after[domain] }).toEqual({ domain, is: was });
  }
}
