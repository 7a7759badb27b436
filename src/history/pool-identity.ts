import { isDeepStrictEqual } from 'node:util';
import { type Change, inverseOf, poolsOfChange } from '../model/change/change.js';
import type { Revision } from './revision.js';

/** From here on a pool is the same: the revision that took it into use, or 0 if it was in use before all of them. */
type Identity = number | undefined;

/**
 * Which pool a name stands for after each revision. A pool that becomes free can be taken into use again for other domains,
 * so the same name can stand for different pools: a domain must never get the servers of another pool of the same name. A
 * revision that takes back another one brings the former pool back only if it puts back exactly what the other one did.
 */
export class PoolIdentities {
  /** What the name stands for from a revision on; undefined where no pool has the name. Oldest first. */
  readonly #since = new Map<string, [revision: number, identity: Identity][]>();
  readonly #byRevision = new Map<number, Revision>();

  /**
   * @param names the pools to follow
   * @param start the revision before the first of `revisions`
   * @param revisions all revisions after `start`, oldest first
   */
  constructor(
    private readonly names: ReadonlySet<string>,
    private readonly start: number,
    revisions: readonly Revision[],
  ) {
    for (const entry of revisions) {
      this.#byRevision.set(entry.revision, entry);
      this.#follow(entry);
    }
  }

  /** The pool that the name stands for after `revision`; undefined if the name is free then. */
  at(name: string, revision: number): Identity {
    const found = this.#since.get(name)?.findLast(([since]) => since <= revision);
    return found ? found[1] : 0;
  }

  #follow(entry: Revision): void {
    const { revision, change } = entry;
    const restored = this.#restores(entry);
    const set = (name: string, identity: Identity) => {
      if (!this.names.has(name)) return;
      const known = this.#since.get(name) ?? [];
      known.push([revision, identity]);
      this.#since.set(name, known);
    };
    const former = (name: string): Identity =>
      (restored === undefined || !this.names.has(name) ? undefined : this.at(name, restored)) ?? revision;
    // A backend of the operator is always the same one.
    for (const [name, before, after] of change.pools) {
      if (before?.external || after?.external) continue;
      if (after === null) set(name, undefined);
      else if (before === null) set(name, former(name));
    }
    for (const name of change.replaced ?? []) set(name, former(name));
  }

  /** The revision whose pools the entry brings back, exactly and under their names. */
  #restores({ change, undoes, rolls_back_to: target }: Revision): number | undefined {
    if (target !== undefined && target >= this.start) return target;
    const undone = undoes === undefined ? undefined : this.#byRevision.get(undoes);
    return undone && isInverse(change, undone.change) ? undone.revision - 1 : undefined;
  }
}

/** Whether both changes take the same pools into use, free the same pools and replace the same pools, the other way round. */
function isInverse(change: Change, other: Change): boolean {
  const [pools, replaced] = [byName(change), byName(inverseOf(other))];
  return isDeepStrictEqual(pools, replaced);
}

function byName({ pools, replaced = [] }: Change): unknown {
  return [Object.fromEntries(pools.map(([name, ...values]) => [name, values])), replaced.toSorted()];
}

/** The pools of a change, followed from before its revision. */
export function identitiesFrom(entry: Revision, later: readonly Revision[]): PoolIdentities {
  return new PoolIdentities(poolsOfChange(entry.change), entry.revision - 1, [entry, ...later]);
}
