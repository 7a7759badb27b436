/** Above this share of the names changed at once, one pass over all is less work than a place for each. */
const FEW = 64;

/** Names in code-unit order, kept so through changes: a list of 100,000 is not sorted again for one new name. */
export class SortedNames {
  #names: string[] | undefined;

  constructor(private readonly all: () => Iterable<string>) {}

  /** Sorted when first asked for. Read it within one tick: the next change moves what is in it. */
  get(): readonly string[] {
    this.#names ??= [...this.all()].toSorted();
    return this.#names;
  }

  /** Each name is in the list before and not in the other list, or the other way round. */
  change(added: readonly string[], removed: readonly string[]): void {
    if (!this.#names) return;
    if (added.length + removed.length > FEW) {
      this.#names = merged(this.#names, added.toSorted(), new Set(removed));
      return;
    }
    for (const name of removed) this.#names.splice(firstAtLeast(this.#names, name), 1);
    for (const name of added) this.#names.splice(firstAtLeast(this.#names, name), 0, name);
  }
}

/** The index of the first name that is not before this one. */
export function firstAtLeast(sorted: readonly string[], name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

function merged(sorted: readonly string[], added: readonly string[], removed: ReadonlySet<string>): string[] {
  const result: string[] = [];
  let next = 0;
  for (const name of sorted) {
    if (removed.has(name)) continue;
    for (let other = added[next]; other !== undefined && other < name; other = added[next]) {
      result.push(other);
      next += 1;
    }
    result.push(name);
  }
  for (; next < added.length; next += 1) result.push(added[next] ?? '');
  return result;
}
