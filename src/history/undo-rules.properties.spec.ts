import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add,
  LIMIT,
  put,
  Recorded,
  remove,
  served,
  server,
  share,
  snapshot,
} from '../../test/kit/recorded-history.js';
import { AppError } from '../errors/app-error.js';
import { poolName } from '../model/names/pool-name.js';
import type { Draft } from '../model/draft.js';
import { lowestFreePool } from '../reconciler/pools/pool-limits.js';
import type { Revision } from './revision.js';

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
