import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../errors/app-error.js';
import { changeOf } from '../model/change/change.js';
import { poolName } from '../model/names/pool-name.js';
import { Draft, State } from '../model/state.js';
import { lowestFreePool, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import { type Revision, TakenBack } from './revision.js';
import { rollBack, type Situation, undo } from './undo-rules.js';

const LIMIT: PoolLimit = { count: 100, dynamic: false };
const situation = (present: number, given: Partial<Situation> = {}): Situation => ({
  present,
  limit: LIMIT,
  role: 'admin',
  now: 0,
  backendProblem: () => undefined,
  ...given,
});
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

  undo(revision: number, given: Partial<Situation> = {}): number | undefined {
    const [entry, ...later] = this.revisions.slice(revision - 1);
    if (!entry) throw new Error(`no revision ${revision}`);
    return this.commit(
      (draft) => void undo(draft, entry, later, situation(this.state.revision, given)),
      'undo',
    );
  }

  rollBack(revision: number, given: Partial<Situation> = {}): number | undefined {
    return this.commit(
      (draft) =>
        rollBack(draft, revision, this.revisions.slice(revision), situation(this.state.revision, given)),
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
      'pool_1 became free and was taken into use again',
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
      'Revision 3 has taken it back already.',
    ],
    [
      'an undo, and the same change by another caller',
      (one) => {
        one.commit(add('a.test', 1));
        const undone = one.commit(share('b.test', 'a.test')) ?? 0;
        one.undo(undone);
        one.commit(share('b.test', 'a.test'));
        return undone;
      },
      'Revision 3 has taken it back already.',
    ],
    [
      'a rollback, and the same change by another caller',
      (one) => {
        one.commit(add('a.test', 1));
        const undone = one.commit(put('a.test', 1, 1, 5)) ?? 0;
        one.rollBack(1);
        one.commit(put('a.test', 1, 1, 5));
        return undone;
      },
      'Revision 3 has taken it back already.',
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

  it('is possible again after its undo was undone', () => {
    const one = new Recorded();
    const added = one.commit(add('a.test', 1)) ?? 0;
    const undone = one.undo(added) ?? 0;
    expect(one.undo(undone)).toBe(3);
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
    const text = conflict(() => entry && undo(new Draft(one.state), entry, [gap], situation(9)));
    expect(text).toContain('does not have the revisions from 2 to 9');
    expect(conflict(() => rollBack(new Draft(one.state), 0, [entry ?? gap, gap], situation(9)))).toContain(
      'from 2 to 9',
    );
  });
});

describe('a history with a gap', () => {
  it.each<[string, (all: Revision[]) => Revision[]]>([
    ['in the middle', ([one, , three]) => [one, three].filter((entry) => entry !== undefined)],
    ['at the end', ([one, two]) => [one, two].filter((entry) => entry !== undefined)],
    ['at the beginning', ([, two, three]) => [two, three].filter((entry) => entry !== undefined)],
  ])('refuses an undo and a rollback across the gap %s, and says which revision is missing', (_, cut) => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(put('a.test', 1, 1, 2));
    one.commit(put('a.test', 1, 1, 3));
    one.commit(put('a.test', 2, 2));
    const [first, ...later] = one.revisions;
    const known = cut(later);
    const missing = later.find((entry) => !known.includes(entry))?.revision;
    const text = `the history does not have revision ${missing}`;
    expect(conflict(() => first && undo(new Draft(one.state), first, known, situation(4)))).toContain(
      `Revision 1 cannot be undone: ${text}`,
    );
    expect(conflict(() => rollBack(new Draft(one.state), 1, known, situation(4)))).toContain(
      `The state cannot be rolled back to revision 1: ${text}`,
    );
  });
});

describe('the pools of an undo', () => {
  it('are not those of other domains if an earlier undo moved its domain to another pool', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(add('x.test', 2));
    one.commit(share('y.test', 'x.test'));
    one.commit(remove('x.test'));
    const removedA = one.commit(remove('a.test')) ?? 0;
    one.commit(add('c.test', 3));
    const removedY = one.commit(remove('y.test')) ?? 0;
    one.undo(removedA);
    one.undo(removedY);
    expect(one.state.poolOf('a.test')).not.toBe('pool_1');
    expect(conflict(() => one.undo(4))).toContain('became free and was taken into use again');
  });

  it('do not get the servers of others with the undo of a rollback: a domain that came since is a conflict', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(remove('a.test'));
    one.commit(add('b.test', 2));
    const back = one.rollBack(1) ?? 0;
    one.commit(share('c.test', 'a.test'));
    expect(conflict(() => one.undo(back))).toContain('c.test is in pool_1 too');
    expect(served(one.state)).toMatchObject({ 'c.test': { servers: { 1: server(1) } } });
  });

  it('are put back by the undo of a rollback that gave the pool to its former domain', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(remove('a.test'));
    one.commit(add('b.test', 2));
    const before = snapshot(one.state);
    const back = one.rollBack(1) ?? 0;
    expect(one.revisions.at(-1)?.change.replaced).toEqual(['pool_1']);
    one.undo(back);
    expect(snapshot(one.state)).toEqual(before);
  });

  it('do not change for a domain that came to a pool after a rollback that only changed what the pool is', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(remove('a.test'));
    one.commit(add('a.test', 2));
    const back = one.rollBack(1) ?? 0;
    one.commit(share('b.test', 'a.test'));
    expect(conflict(() => one.undo(back))).toContain('b.test is in pool_1 too');
  });

  it('stay those of a renamed domain', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    const weighed = one.commit(put('a.test', 1, 1, 9)) ?? 0;
    const renamed = one.commit((draft) => draft.renameDomain('a.test', 'b.test')) ?? 0;
    one.undo(weighed);
    expect(one.state.pool('pool_1')?.servers.get(1)).toEqual(server(1));
    one.undo(renamed);
    expect(one.state.poolOf('a.test')).toBe('pool_1');
  });

  it('are found for 2,000 domains without a search for each', () => {
    const size = 2000;
    const one = new Recorded();
    const fill = (prefix: string) => (draft: Draft) =>
      draft.replacePools(
        new Map(
          Array.from({ length: size }, (_, index) => [
            poolName(index + 1),
            { domains: [`${prefix}${index}.test`], servers: new Map([[1, server(1)]]) },
          ]),
        ),
      );
    one.commit(fill('a'));
    one.commit((draft) => draft.removeDomains([...one.state.sortedDomains()]));
    one.commit(fill('b'));
    let reads = 0;
    const limit = { count: 100_000, dynamic: true, reserved: { has: () => (reads += 1) < 0 } as never };
    one.undo(2, { limit });
    expect(one.state.domainCount).toBe(2 * size);
    expect(reads).toBeLessThan(5 * size);
  });
});

describe('an undo of what a caller may not do', () => {
  it('of a rollback, or of the undo of one, needs an administrator', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(put('a.test', 1, 1, 5));
    const back = one.rollBack(1) ?? 0;
    const again = one.undo(back) ?? 0;
    expect(() => one.undo(again, { role: 'operate' })).toThrow('Only an administrator may undo revision 4');
    expect(one.undo(again)).toBe(5);
    const weighed = one.commit(put('a.test', 1, 1, 9)) ?? 0;
    expect(one.undo(weighed, { role: 'operate' })).toBe(weighed + 1);
  });

  it('that points a domain at a backend that is gone is refused', () => {
    const one = new Recorded();
    one.commit((draft) => draft.addDomain('a.test', 'legacy', true));
    const removed = one.commit(remove('a.test')) ?? 0;
    const backendProblem = (name: string) => `HAProxy has no backend ${name}`;
    expect(conflict(() => one.undo(removed, { backendProblem }))).toContain(
      'it points a domain at the backend legacy, but HAProxy has no backend legacy',
    );
    expect(conflict(() => one.rollBack(1, { backendProblem }))).toContain('HAProxy has no backend legacy');
    expect(one.undo(removed)).toBe(3);
  });
});

describe('a rollback', () => {
  it('says how to get more pools if it needs one above the limit', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(add('b.test', 2));
    one.commit(remove('b.test'));
    const limit: PoolLimit = { count: 1, dynamic: false };
    expect(() => one.rollBack(2, { limit })).toThrow(
      /^The state cannot be rolled back to revision 2: it needs pool_2, and the limit is 1 pools\. To have more, raise HAPROXY_POOL_COUNT, .* at run time\. Nothing was changed\.$/,
    );
  });

  it('is refused if a pool is in use that the history has as free', () => {
    const one = new Recorded();
    one.commit(add('a.test', 1));
    one.commit(remove('a.test'));
    const draft = new Draft(one.state);
    draft.addDomain('stranger.test', 'pool_1');
    expect(conflict(() => rollBack(draft, 1, one.revisions.slice(1), situation(2)))).toContain(
      'pool_1 is in use',
    );
  });
});

describe('TakenBack', () => {
  const entries = (...given: Partial<Revision>[]) =>
    given.map((one, index) => ({ revision: index + 5, ...one }));

  it.each<[string, ReturnType<typeof entries>, number[]]>([
    ['an undo of a revision', entries({}, {}, { undoes: 5 }), [5]],
    ['an undo of an undo', entries({}, { undoes: 5 }, { undoes: 6 }), [6]],
    ['an undo of an earlier revision', entries({}, { undoes: 2 }), []],
    ['a rollback', entries({}, {}, { rolls_back_to: 5 }, {}), [6]],
    ['a rollback to before', entries({}, { rolls_back_to: 3 }), [5]],
    ['a rollback that was undone', entries({}, {}, { rolls_back_to: 5 }, { undoes: 7 }), [7]],
    ['a rollback over an undo', entries({}, { undoes: 5 }, { rolls_back_to: 5 }), [6]],
  ])('finds what %s took back', (_, given, expected) => {
    const takenBack = new TakenBack();
    const found = given.toReversed().filter((entry) => takenBack.by(entry) !== undefined);
    expect(found.map(({ revision }) => revision).toReversed()).toEqual(expected);
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
    'replace',
    'undo',
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
      case 'replace':
        if (pool === undefined || state.poolOf(other) !== undefined) return false;
        return (
          one.commit((draft) =>
            draft.replacePools(
              new Map([[pool, { domains: [other], servers: new Map([[slot, server(value)]]) }]]),
            ),
          ) !== undefined
        );
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

/**
 * A history in which each pool that is taken into use gets an owner of its own. The addresses of its servers say the owner,
 * and the owner of each domain is known without the rules of undo. So it can be seen which domain has the servers of
 * another.
 */
class Owned extends Recorded {
  owners = new Map<string, number>();
  readonly #former = [new Map<string, number>()];
  #next = 0;

  run({ kind, domain, other, slot, value, back }: AnyEdit): boolean {
    const { state, owners } = this;
    const pool = state.poolOf(domain);
    const owner = owners.get(domain) ?? 0;
    const target = state.poolOf(other);
    const revision = state.revision - (back % Math.max(1, state.revision));
    const address = (whose: number) => ({ ...server(slot, value), ip: `10.0.${whose}.${slot}` });
    const after = new Map(owners);
    const done = (edit: (draft: Draft) => void) => this.commit(edit) !== undefined;
    let isDone = false;
    switch (kind) {
      case 'add':
      case 'replace': {
        if (kind === 'add' ? pool !== undefined : pool === undefined || target !== undefined) return false;
        this.#next += 1;
        const servers = new Map([[slot, address(this.#next)]]);
        if (kind === 'replace') for (const one of state.pool(pool ?? '')?.domains ?? []) after.delete(one);
        const added = kind === 'add' ? domain : other;
        after.set(added, this.#next);
        isDone = done((draft) =>
          draft.replacePools(
            new Map([[pool ?? lowestFreePool(draft, LIMIT), { domains: [added], servers }]]),
          ),
        );
        break;
      }
      case 'share':
        if (pool !== undefined || target === undefined) return false;
        after.set(domain, owners.get(other) ?? 0);
        isDone = done(share(domain, other));
        break;
      case 'remove':
        if (pool === undefined) return false;
        after.delete(domain);
        isDone = done(remove(domain));
        break;
      case 'put':
      case 'drop':
        if (pool === undefined) return false;
        isDone = done((draft) => {
          if (kind === 'put') draft.putServer(pool, slot, address(owner));
          else if (state.pool(pool)?.servers.has(slot)) draft.removeServer(pool, slot);
        });
        break;
      case 'rename':
        if (pool === undefined || target !== undefined) return false;
        after.delete(domain);
        after.set(other, owner);
        isDone = done((draft) => draft.renameDomain(domain, other));
        break;
      case 'move':
        if (pool === undefined || target === undefined || target === pool) return false;
        after.set(domain, owners.get(other) ?? 0);
        isDone = done((draft) => draft.moveDomain(domain, target));
        break;
      case 'undo': {
        if (state.revision === 0) return false;
        const [earlier, later] = this.#former.slice(revision - 1);
        for (const name of NAMES) {
          const whose = earlier?.get(name);
          if (whose === later?.get(name)) continue;
          if (whose === undefined) after.delete(name);
          else after.set(name, whose);
        }
        isDone = allowed(() => this.undo(revision));
        break;
      }
      case 'rollback': {
        const to = Math.max(0, state.revision - back);
        after.clear();
        for (const [name, whose] of this.#former[to] ?? []) after.set(name, whose);
        isDone = allowed(() => this.rollBack(to));
        break;
      }
      default:
        return false;
    }
    if (isDone) {
      this.owners = after;
      this.#former.push(after);
    }
    return isDone;
  }

  /** Domains with a server of another owner, or beside a domain of another owner. */
  strangers(): string[] {
    return [...this.state.pools].flatMap(([name, { domains, servers }]) => {
      const found = new Set([
        ...domains.map((domain) => this.owners.get(domain)),
        ...[...servers.values()].map(({ ip }) => Number(ip.split('.')[2])),
      ]);
      return found.size > 1 ? [`${name} (${domains.join(', ')}) has ${[...found].join(' and ')}`] : [];
    });
  }
}

/** Whether the change was made. False if it is refused or changes nothing. */
function allowed(work: () => number | undefined): boolean {
  try {
    return work() !== undefined;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

/** Few domains and many undos of late revisions: pools are freed, taken and put back again and again. */
const poolEdit = fc.record({
  kind: fc.oneof(
    ...(
      [
        ['add', 4],
        ['share', 3],
        ['remove', 6],
        ['undo', 9],
        ['rollback', 2],
        ['put', 1],
        ['replace', 1],
        ['rename', 1],
        ['move', 1],
      ] as const
    ).map(([kind, weight]) => ({ arbitrary: fc.constant(kind), weight })),
  ),
  domain: fc.constantFrom(...NAMES.slice(0, 4)),
  other: fc.constantFrom(...NAMES.slice(0, 4)),
  slot: fc.integer({ min: 1, max: 2 }),
  value: fc.integer({ min: 1, max: 4 }),
  back: fc.integer({ min: 0, max: 8 }),
});

describe('any history of undos and rollbacks', () => {
  it('gives no domain the servers of another', () => {
    const counts = { undo: 0, rollback: 0 };
    fc.assert(
      fc.property(fc.array(poolEdit, { minLength: 8, maxLength: 40 }), (edits) => {
        const one = new Owned();
        for (const edit of edits)
          if (one.run(edit)) {
            if (edit.kind === 'undo' || edit.kind === 'rollback') counts[edit.kind] += 1;
            expect(one.strangers()).toEqual([]);
          }
      }),
      { numRuns: 250 },
    );
    expect(counts.undo).toBeGreaterThan(100);
    expect(counts.rollback).toBeGreaterThan(50);
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

describe('A domain that expired', () => {
  const NOW = Date.parse('2026-06-01T00:00:00Z');
  const PAST = { labels: { team: 'web' }, expires_at: '2026-05-31T00:00:00Z' };

  const expire = (draft: Draft) => draft.removeDomains(['a.test']);

  it('comes back without its expiry by an undo, which can be undone', () => {
    const recorded = new Recorded();
    recorded.commit((draft) => {
      draft.addDomain('a.test', 'pool_1');
      draft.setSite('a.test', PAST);
    });
    const expired = recorded.commit(expire) ?? 0;
    const back = recorded.undo(expired, { now: NOW }) ?? 0;
    expect([recorded.state.poolOf('a.test'), recorded.state.site('a.test')]).toEqual([
      'pool_1',
      { labels: PAST.labels },
    ]);
    recorded.undo(back, { now: NOW });
    expect(recorded.state.poolOf('a.test')).toBeUndefined();
  });

  it('has its former time after a rollback, so that the suite removes it again', () => {
    const recorded = new Recorded();
    const before =
      recorded.commit((draft) => {
        draft.addDomain('a.test', 'pool_1');
        draft.setSite('a.test', PAST);
      }) ?? 0;
    recorded.commit(expire);
    recorded.rollBack(before, { now: NOW });
    expect(recorded.state.site('a.test')).toEqual(PAST);
  });

  it('keeps a later time: an undo that would end a domain that exists is refused', () => {
    const recorded = new Recorded();
    recorded.commit((draft) => {
      draft.addDomain('a.test', 'pool_1');
      draft.setSite('a.test', PAST);
    });
    const extended =
      recorded.commit((draft) => draft.setSite('a.test', { expires_at: '2026-07-01T00:00:00Z' })) ?? 0;
    expect(() => recorded.undo(extended, { now: NOW })).toThrow(/a\.test expired before.*has passed/);
    expect(recorded.state.site('a.test')).toEqual({ expires_at: '2026-07-01T00:00:00Z' });
  });

  it('keeps an expiry that is still to come', () => {
    const recorded = new Recorded();
    recorded.commit((draft) => {
      draft.addDomain('a.test', 'pool_1');
      draft.setSite('a.test', PAST);
    });
    const removed = recorded.commit(expire) ?? 0;
    recorded.undo(removed, { now: Date.parse(PAST.expires_at) - 1 });
    expect(recorded.state.site('a.test')).toEqual(PAST);
  });
});
