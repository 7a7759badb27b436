import { NameIndex } from './name-index.js';

/** The names of a pool that are sorted for one answer; of a larger pool the index is kept. */
const SORTED_AT_ONCE = 1000;
/** Large pools whose index is kept; the one that was made first goes. */
const KEPT = 8;

/** A domain that came, went or is in another pool now. */
export interface Move {
  domain: string;
  from: string | undefined;
  to: string | undefined;
}

/** What the indexes are of. */
interface Names {
  sortedDomains(): readonly string[];
  poolOf(domain: string): string | undefined;
  pool(name: string): { readonly domains: readonly string[] } | undefined;
}

/** The domains, all or of one pool, to be paged and searched; made when first asked for, and kept up to date. */
export class NameIndexes {
  #all: NameIndex | undefined;
  readonly #ofPool = new Map<string, NameIndex>();

  constructor(private readonly names: Names) {}

  all(): NameIndex {
    this.#all ??= new NameIndex(this.names.sortedDomains());
    return this.#all;
  }

  ofPool(name: string): NameIndex {
    const domains = this.names.pool(name)?.domains ?? [];
    if (domains.length <= SORTED_AT_ONCE) return new NameIndex(domains.toSorted());
    let index = this.#ofPool.get(name);
    if (!index) {
      index = new NameIndex(
        this.names.sortedDomains().filter((domain) => this.names.poolOf(domain) === name),
      );
      const [oldest] = this.#ofPool.keys();
      if (oldest !== undefined && this.#ofPool.size >= KEPT) this.#ofPool.delete(oldest);
      this.#ofPool.set(name, index);
    }
    return index;
  }

  change(moves: readonly Move[]): void {
    const within = (has: (pool: string) => boolean) => ({
      added: moves.filter(
        ({ from, to }) => to !== undefined && has(to) && !(from !== undefined && has(from)),
      ),
      removed: moves.filter(
        ({ from, to }) => from !== undefined && has(from) && !(to !== undefined && has(to)),
      ),
    });
    const change = (index: NameIndex, has: (pool: string) => boolean): boolean => {
      const { added, removed } = within(has);
      return index.change(
        added.map(({ domain }) => domain),
        removed.map(({ domain }) => domain),
      );
    };
    if (this.#all && !change(this.#all, () => true)) this.#all = undefined;
    for (const [name, index] of this.#ofPool)
      if (!change(index, (pool) => pool === name)) this.#ofPool.delete(name);
  }
}
