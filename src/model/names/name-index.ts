import { firstAtLeast } from './sorted-names.js';

/** The number of names in a block. A change rebuilds the search text of one block. */
const BLOCK_SIZE = 512;
/** Above this many changed names, building a new index is faster than changing the blocks. */
const MAX_IN_PLACE_CHANGES = 64;
/** The number of searches whose total is cached, so that the next page of a search does not count again. */
const MAX_CACHED_TOTALS = 16;
/** After this many matches in a block, comparing bytes is faster than another native search for each match. */
const MAX_NATIVE_SEARCHES = 48;
/** The names of a pool up to this size are sorted for each answer. A larger pool has an index. */
const MAX_UNINDEXED_POOL = 1000;
/** The number of pool indexes in memory. The oldest index is dropped first. */
const MAX_POOL_INDEXES = 8;

/** Consecutive names. The search text is built by the first search. */
interface Block {
  names: string[];
  search?: SearchText | undefined;
}

interface SearchText {
  /** Each name, followed by a line feed. */
  text: string;
  /** The same text as bytes. */
  bytes: Buffer;
  /** The offset of each name, and the length of the text. */
  offsets: Uint32Array;
}

/** A search and the number of names that it finds. */
interface CachedTotal {
  needle: string;
  from: string;
  total: number;
}

interface NamePage {
  items: string[];
  more: boolean;
  /** Matches on all pages together. */
  total: number;
}

interface NameQuery {
  /** Only names that contain this text. */
  needle?: string | undefined;
  /** Only names that do not sort before this one. */
  from?: string | undefined;
  /** Only names after this one are shown. Does not change `total`. */
  after?: string | undefined;
  limit: number;
}

/**
 * Sorted ASCII names that can be searched for any text. Each block of names is one text, so that one native search
 * excludes a block without a match. Counting the matches of 100,000 names takes about 3 ms and is done once for a search,
 * not for each of its pages.
 */
export class NameIndex {
  readonly #blocks: Block[] = [];
  #totals: CachedTotal[] = [];

  constructor(sorted: readonly string[]) {
    for (let start = 0; start < sorted.length; start += BLOCK_SIZE)
      this.#blocks.push({ names: sorted.slice(start, start + BLOCK_SIZE) });
  }

  /** Builds the search text of every block, so that the first search does not have to. */
  buildSearchTexts(): void {
    for (const block of this.#blocks) searchTextOf(block);
  }

  /** Returns false and changes nothing if there are too many changes. Then build a new index. */
  change(added: readonly string[], removed: readonly string[]): boolean {
    if (added.length + removed.length > MAX_IN_PLACE_CHANGES) return false;
    for (const name of removed) this.#remove(name);
    for (const name of added) this.#add(name);
    for (const cached of this.#totals) cached.total += matches(cached, added) - matches(cached, removed);
    return true;
  }

  page({ needle = '', from = '', after, limit }: NameQuery): NamePage {
    const items: string[] = [];
    for (const name of this.#matches(needle, after === undefined || after < from ? from : after)) {
      if (name === after) continue;
      items.push(name);
      if (items.length > limit) break;
    }
    return { items: items.slice(0, limit), more: items.length > limit, total: this.#total(needle, from) };
  }

  *#matches(needle: string, from: string): Generator<string, void> {
    for (const { names } of this.#candidates(needle, from))
      for (let index = firstAtLeast(names, from); index < names.length; index += 1) {
        const name = names[index] ?? '';
        if (name.includes(needle)) yield name;
      }
  }

  /** The blocks that may have a match at or after the name `from`. */
  *#candidates(needle: string, from: string): Generator<Block, void> {
    // A line feed would match between two names.
    if (needle.includes('\n')) return;
    for (let at = this.#blockOf(from); at < this.#blocks.length; at += 1) {
      const block = this.#blocks[at];
      if (block && (needle === '' || searchTextOf(block).text.includes(needle))) yield block;
    }
  }

  #total(needle: string, from: string): number {
    const known = this.#totals.find((cached) => cached.needle === needle && cached.from === from);
    const total = known?.total ?? this.#count(needle, from);
    // Least recently used: the front of the list is kept longest.
    const others = this.#totals.filter((cached) => cached !== known);
    this.#totals = [{ needle, from, total }, ...others].slice(0, MAX_CACHED_TOTALS);
    return total;
  }

  #count(needle: string, from: string): number {
    const codes = codesOf(needle);
    let total = 0;
    for (const block of this.#candidates(needle, from)) {
      const first = firstAtLeast(block.names, from);
      total += needle === '' ? block.names.length - first : countMatches(block, needle, codes, first);
    }
    return total;
  }

  #add(name: string): void {
    const at = this.#blockOf(name);
    const block = this.#blocks[at];
    if (!block) {
      this.#blocks.push({ names: [name] });
      return;
    }
    block.names.splice(firstAtLeast(block.names, name), 0, name);
    block.search = undefined;
    if (block.names.length > 2 * BLOCK_SIZE)
      this.#blocks.splice(at + 1, 0, { names: block.names.splice(BLOCK_SIZE) });
  }

  #remove(name: string): void {
    const at = this.#blockOf(name);
    const block = this.#blocks[at];
    const index = block ? firstAtLeast(block.names, name) : -1;
    if (!block || block.names[index] !== name) return;
    block.names.splice(index, 1);
    block.search = undefined;
    if (block.names.length === 0) this.#blocks.splice(at, 1);
  }

  /** The index of the block that the name belongs to: the first that does not end before the name, else the last. */
  #blockOf(name: string): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#blocks[middle]?.names.at(-1) ?? '') < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A domain that was added (`from` is undefined), removed (`to` is undefined) or moved to another pool. */
export interface DomainMove {
  domain: string;
  from: string | undefined;
  to: string | undefined;
}

/** The part of a state that is indexed. */
interface IndexedState {
  sortedDomains(): readonly string[];
  poolOf(domain: string): string | undefined;
  pool(name: string): { readonly domains: readonly string[] } | undefined;
}

/** Indexes of all domains of a state and of the domains of its large pools. Each is built by its first use. */
export class DomainIndexes {
  #all: NameIndex | undefined;
  readonly #byPool = new Map<string, NameIndex>();

  constructor(private readonly state: IndexedState) {}

  all(): NameIndex {
    this.#all ??= new NameIndex(this.state.sortedDomains());
    return this.#all;
  }

  ofPool(name: string): NameIndex {
    const domains = this.state.pool(name)?.domains ?? [];
    if (domains.length <= MAX_UNINDEXED_POOL) return new NameIndex(domains.toSorted());
    let index = this.#byPool.get(name);
    if (!index) {
      // Selecting from the sorted list of all domains is faster than sorting the domains of the pool.
      index = new NameIndex(
        this.state.sortedDomains().filter((domain) => this.state.poolOf(domain) === name),
      );
      const [oldest] = this.#byPool.keys();
      if (oldest !== undefined && this.#byPool.size >= MAX_POOL_INDEXES) this.#byPool.delete(oldest);
      this.#byPool.set(name, index);
    }
    return index;
  }

  change(moves: readonly DomainMove[]): void {
    const update = (index: NameIndex, contains: (pool: string) => boolean): boolean => {
      const isIn = (pool: string | undefined): boolean => pool !== undefined && contains(pool);
      const added = moves.filter(({ from, to }) => isIn(to) && !isIn(from));
      const removed = moves.filter(({ from, to }) => isIn(from) && !isIn(to));
      return index.change(
        added.map(({ domain }) => domain),
        removed.map(({ domain }) => domain),
      );
    };
    if (this.#all && !update(this.#all, () => true)) this.#all = undefined;
    for (const [name, index] of this.#byPool)
      if (!update(index, (pool) => pool === name)) this.#byPool.delete(name);
  }
}

function matches({ needle, from }: CachedTotal, names: readonly string[]): number {
  return names.filter((name) => name >= from && name.includes(needle)).length;
}

function countMatches(block: Block, needle: string, codes: Uint16Array, first: number): number {
  const { text, bytes, offsets } = searchTextOf(block);
  let at = offsets[first] ?? 0;
  for (let count = 0; count < MAX_NATIVE_SEARCHES; count += 1) {
    const found = text.indexOf(needle, at);
    if (found < 0) return count;
    at = text.indexOf('\n', found) + 1;
  }
  let count = MAX_NATIVE_SEARCHES;
  for (let index = offsets.indexOf(at); index < block.names.length; index += 1)
    if (containsCodes(bytes, offsets[index] ?? 0, (offsets[index + 1] ?? 0) - 1, codes)) count += 1;
  return count;
}

/**
 * Whether the bytes from `start` to `end` contain the text. Searches backwards: with many matches, the text is most
 * often in the part that the names have in common, which is their end.
 */
function containsCodes(bytes: Buffer, start: number, end: number, codes: Uint16Array): boolean {
  const { length } = codes;
  const code = codes[0];
  for (let at = end - length; at >= start; at -= 1) {
    if (bytes[at] !== code) continue;
    let equal = 1;
    while (equal < length && bytes[at + equal] === codes[equal]) equal += 1;
    if (equal === length) return true;
  }
  return false;
}

function codesOf(text: string): Uint16Array {
  return Uint16Array.from(text, (_, index) => text.charCodeAt(index));
}

function searchTextOf(block: Block): SearchText {
  block.search ??= buildSearchText(block.names);
  return block.search;
}

function buildSearchText(names: readonly string[]): SearchText {
  const offsets = new Uint32Array(names.length + 1);
  for (let index = 0; index < names.length; index += 1)
    offsets[index + 1] = (offsets[index] ?? 0) + (names[index]?.length ?? 0) + 1;
  const bytes = Buffer.from(`${names.join('\n')}\n`, 'latin1');
  // Decoded from the bytes, because V8 would flatten a concatenated string again for each search.
  return { text: bytes.toString('latin1'), bytes, offsets };
}
