/** Above this many changed names, rebuild the list in one pass instead of inserting each. */
const MAX_IN_PLACE_CHANGES = 64;

/** A comparison function for `Array.sort`. Two names are never equal. */
type Order = (one: string, other: string) => number;

/** The order of `Array.sort` without a comparison function. */
const BY_CODE_UNITS: Order = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

/** A list of names that stays sorted through changes, so that one new name does not sort 100,000 names again. */
export class SortedNames {
  #names: string[] | undefined;

  constructor(
    private readonly unsorted: () => Iterable<string>,
    private readonly order: Order = BY_CODE_UNITS,
  ) {}

  /** Sorts at the first call. The caller must not keep the list beyond one tick: the next change modifies it. */
  get(): readonly string[] {
    this.#names ??= [...this.unsorted()].toSorted(this.order);
    return this.#names;
  }

  /** `added` are names that the list does not have yet, `removed` are names that it has. */
  change(added: readonly string[], removed: readonly string[]): void {
    if (!this.#names) return;
    if (added.length + removed.length > MAX_IN_PLACE_CHANGES) {
      this.#names = mergeSorted(this.#names, added, removed, this.order);
      return;
    }
    for (const name of removed) this.#names.splice(firstAtLeast(this.#names, name, this.order), 1);
    for (const name of added) this.#names.splice(firstAtLeast(this.#names, name, this.order), 0, name);
  }
}

/** The index of the first name that does not sort before `name`; the length of the list if there is none. */
export function firstAtLeast(sorted: readonly string[], name: string, order = BY_CODE_UNITS): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (order(sorted[middle] ?? '', name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A copy of a sorted list with names added and removed. */
export function mergeSorted(
  sorted: readonly string[],
  added: readonly string[],
  removed: readonly string[],
  order: Order,
): string[] {
  const result: string[] = [];
  const skipped = new Set(removed);
  const additions = added.toSorted(order);
  let next = 0;
  for (const name of sorted) {
    if (skipped.has(name)) continue;
    for (
      let other = additions[next];
      other !== undefined && order(other, name) < 0;
      other = additions[next]
    ) {
      result.push(other);
      next += 1;
    }
    result.push(name);
  }
  for (; next < additions.length; next += 1) result.push(additions[next] ?? '');
  return result;
}
