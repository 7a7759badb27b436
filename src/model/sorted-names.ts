/** Above this share of the names changed at once, one pass over all is less work than a place for each. */
const FEW = 64;

/** Negative where the first comes first. Names are different from each other. */
export type Order = (one: string, other: string) => number;

/** By code units, as people look for domains. */
export const BY_CODE_UNITS: Order = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
/** `pool_9` before `pool_10`: the shorter number is the smaller one, as none begins with 0. */
export const BY_NUMBER: Order = (one, other) => one.length - other.length || BY_CODE_UNITS(one, other);

/** Names in an order, kept so through changes: a list of 100,000 is not sorted again for one new name. */
export class SortedNames {
  #names: string[] | undefined;

  constructor(
    private readonly all: () => Iterable<string>,
    private readonly order: Order = BY_CODE_UNITS,
  ) {}

  /** Sorted when first asked for. Read it within one tick: the next change moves what is in it. */
  get(): readonly string[] {
    this.#names ??= [...this.all()].toSorted(this.order);
    return this.#names;
  }

  /** Each name is in the list before and not in the other list, or the other way round. */
  change(added: readonly string[], removed: readonly string[]): void {
    if (!this.#names) return;
    if (added.length + removed.length > FEW) {
      this.#names = withChange(this.#names, added, removed, this.order);
      return;
    }
    for (const name of removed) this.#names.splice(firstAtLeast(this.#names, name, this.order), 1);
    for (const name of added) this.#names.splice(firstAtLeast(this.#names, name, this.order), 0, name);
  }
}

/** The index of the first name that is not before this one. */
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

/** A sorted list with some names more and some fewer; the list itself stays as it is. */
export function withChange(
  sorted: readonly string[],
  added: readonly string[],
  removed: readonly string[],
  order: Order,
): string[] {
  const result: string[] = [];
  const gone = new Set(removed);
  const fresh = added.toSorted(order);
  let next = 0;
  for (const name of sorted) {
    if (gone.has(name)) continue;
    for (let other = fresh[next]; other !== undefined && order(other, name) < 0; other = fresh[next]) {
      result.push(other);
      next += 1;
    }
    result.push(name);
  }
  for (; next < fresh.length; next += 1) result.push(fresh[next] ?? '');
  return result;
}
