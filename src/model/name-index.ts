import { firstAtLeast } from './sorted-names.js';

/** Names that are searched as one text. A change makes one such text anew. */
const BLOCK = 512;
/** Above this many names changed at once it is less work to make the whole anew. */
const FEW = 64;
/** Searches whose total is kept: those that somebody is paging through. */
const COUNTED = 16;
/** From so many matches in a block on, a native search for each costs more than to look at every byte of the rest. */
const MANY = 48;

/** Names next to each other in the order, and what is needed to search them; made when first searched. */
interface Block {
  names: string[];
  searched?: Searched | undefined;
}

interface Searched {
  /** Each name with a line end, and the same as bytes. */
  text: string;
  bytes: Buffer;
  /** Where each name begins, and the end of the last. */
  starts: Uint32Array;
}

/** A search, and how many names it finds in all. */
interface Counted {
  needle: string;
  from: string;
  total: number;
}

export interface NamePage {
  items: string[];
  more: boolean;
  /** How many match in all. */
  total: number;
}

export interface NameQuery {
  /** Only names that hold this text. */
  needle?: string | undefined;
  /** Only names that are not before this one. */
  from?: string | undefined;
  /** Go on behind this name; it does not count for `total`. */
  after?: string | undefined;
  limit: number;
}

/**
 * Sorted names that can be searched for any text. Each block of names is one text, in which what is not there is ruled
 * out by one native search; to count all matches of 100,000 names takes some 3 ms however many they are, and is done
 * once for a search and not for each page of it. Names are ASCII.
 */
export class NameIndex {
  readonly #blocks: Block[] = [];
  #counted: Counted[] = [];

  constructor(sorted: readonly string[]) {
    for (let start = 0; start < sorted.length; start += BLOCK)
      this.#blocks.push({ names: sorted.slice(start, start + BLOCK) });
  }

  /** Makes now what the first search needs, so that nobody waits for it. */
  prepare(): void {
    for (const block of this.#blocks) searchable(block);
  }

  /** False where so much changed that a new index is less work; this one must not be used any more then. */
  change(added: readonly string[], removed: readonly string[]): boolean {
    if (added.length + removed.length > FEW) return false;
    for (const name of removed) this.#remove(name);
    for (const name of added) this.#add(name);
    for (const counted of this.#counted)
      counted.total += matching(counted, added) - matching(counted, removed);
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

  /** The blocks that may have a match, from that name on. */
  *#candidates(needle: string, from: string): Generator<Block, void> {
    // It would be found between two names.
    if (needle.includes('\n')) return;
    for (let at = this.#blockOf(from); at < this.#blocks.length; at += 1) {
      const block = this.#blocks[at];
      if (block && (needle === '' || searchable(block).text.includes(needle))) yield block;
    }
  }

  #total(needle: string, from: string): number {
    const known = this.#counted.find((counted) => counted.needle === needle && counted.from === from);
    const total = known?.total ?? this.#count(needle, from);
    // The one that was asked for last is kept longest.
    const others = this.#counted.filter((counted) => counted !== known);
    this.#counted = [{ needle, from, total }, ...others].slice(0, COUNTED);
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
    block.searched = undefined;
    if (block.names.length > 2 * BLOCK) this.#blocks.splice(at + 1, 0, { names: block.names.splice(BLOCK) });
  }

  #remove(name: string): void {
    const at = this.#blockOf(name);
    const block = this.#blocks[at];
    const index = block ? firstAtLeast(block.names, name) : -1;
    if (!block || block.names[index] !== name) return;
    block.names.splice(index, 1);
    block.searched = undefined;
    if (block.names.length === 0) this.#blocks.splice(at, 1);
  }

  /** The block that has the name, or would: the first that does not end before it, else the last. */
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

function matching({ needle, from }: Counted, names: readonly string[]): number {
  return names.filter((name) => name >= from && name.includes(needle)).length;
}

function countMatches(block: Block, needle: string, codes: Uint16Array, first: number): number {
  const { text, bytes, starts } = searchable(block);
  let at = starts[first] ?? 0;
  for (let count = 0; count < MANY; count += 1) {
    const found = text.indexOf(needle, at);
    if (found < 0) return count;
    at = text.indexOf('\n', found) + 1;
  }
  let count = MANY;
  for (let index = starts.indexOf(at); index < block.names.length; index += 1)
    if (holds(bytes, starts[index] ?? 0, (starts[index + 1] ?? 0) - 1, codes)) count += 1;
  return count;
}

/** Whether the bytes from `start` to `end` hold the text. It is looked for from the end, which is what many names share. */
function holds(bytes: Buffer, start: number, end: number, codes: Uint16Array): boolean {
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

function searchable(block: Block): Searched {
  block.searched ??= searchedOf(block.names);
  return block.searched;
}

function searchedOf(names: readonly string[]): Searched {
  const starts = new Uint32Array(names.length + 1);
  for (let index = 0; index < names.length; index += 1)
    starts[index + 1] = (starts[index] ?? 0) + (names[index]?.length ?? 0) + 1;
  const bytes = Buffer.from(`${names.join('\n')}\n`, 'latin1');
  // Read back, because a text that was put together of parts is made whole by each search anew.
  return { text: bytes.toString('latin1'), bytes, starts };
}
