import { describe, expect, it } from 'vitest';
import {
  add,
  conflict,
  put,
  Recorded,
  remove,
  served,
  server,
  share,
  situation,
  snapshot,
} from '../../test/kit/recorded-history.js';
import { changeOf } from '../model/change/change.js';
import { poolName } from '../model/names/pool-name.js';
import { Draft } from '../model/draft.js';
import { type PoolLimit } from '../reconciler/pools/pool-limits.js';
import { type Revision, TakenBack } from './revision.js';
import { rollBack, undo } from './undo-rules.js';

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

  it('leaves a backend of the operator that other domains use since', () => {
    const toBackend = (domain: string) => (draft: Draft) => draft.addDomain(domain, 'be_web', true);
    const one = new Recorded();
    const first = one.commit(toBackend('a.test')) ?? 0;
    one.commit(toBackend('b.test'));
    one.undo(first);
    expect(one.state.poolOf('a.test')).toBeUndefined();
    expect(one.state.pool('be_web')).toMatchObject({ domains: ['b.test'], external: true });
    const second = one.commit(remove('b.test')) ?? 0;
    one.commit(toBackend('c.test'));
    one.undo(second);
    expect(one.state.pool('be_web')).toMatchObject({ domains: ['c.test', 'b.test'], external: true });
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
