import { firstAtLeast } from './sorted-names.js';

/** Names that share one text. A change makes one such text anew. */
const BLOCK = 512;
/** Above this many names changed at once it is less work to make the whole anew. */
const FEW = 64;

/** Names next to each other in the order, and what is needed to search them; made when first searched. */
interface Block {
  names: string[];
  searched?: { text: string; bytes: Buffer; starts: Uint32Array } | undefined;
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
 * out by one native search; 100,000 names take some 3 ms however many of them match. Names are ASCII.
 */
export class NameIndex {
  readonly #blocks: Block[] = [];

  constructor(sorted: readonly string[]) {
    for (let start = 0; start < sorted.length; start += BLOCK)
      this.#blocks.push({ names: sorted.slice(start, start + BLOCK) });
  }

  /** False where so much changed that a new index is less work; this one must not be used any more then. */
  change(added: readonly string[], removed: readonly string[]): boolean {
    if (added.length + removed.length > FEW) return false;
    for (const name of removed) this.#remove(name);
    for (const name of added) this.#add(name);
    return true;
  }

  page({ needle, from = '', after, limit }: NameQuery): NamePage {
    const items: string[] = [];
    let matching = 0;
    let total = 0;
    for (const block of this.#blocks) {
      const { names } = block;
      if ((names.at(-1) ?? '') < from) continue;
      const first = firstAtLeast(names, from);
      // Those of a block that is behind enough names, or all before the cursor, need only be counted.
      const wanted = matching <= limit && (after === undefined || (names.at(-1) ?? '') > after);
      const take = (index: number): void => {
        total += 1;
        const name = names[index] ?? '';
        if (!wanted || matching > limit || (after !== undefined && name <= after)) return;
        matching += 1;
        if (matching <= limit) items.push(name);
      };
      if (needle !== undefined) eachMatch(block, needle, first, take);
      else if (wanted) for (let index = first; index < names.length; index += 1) take(index);
      else total += names.length - first;
    }
    return { items, more: matching > limit, total };
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

/** Tells each name of the block, from `first` on, that holds the text. */
function eachMatch(block: Block, needle: string, first: number, tell: (index: number) => void): void {
  block.searched ??= searchable(block.names);
  const { text, bytes, starts } = block.searched;
  if (needle === '') {
    for (let index = first; index < block.names.length; index += 1) tell(index);
    return;
  }
  if (!text.includes(needle)) return;
  // Where many match, a call of the native search for each would cost more than to look at every byte.
  const code = needle.charCodeAt(0);
  const { length } = needle;
  for (let line = first; line < block.names.length; line += 1) {
    const last = (starts[line + 1] ?? 0) - 1 - length;
    for (let at = starts[line] ?? 0; at <= last; at += 1) {
      if (bytes[at] !== code) continue;
      let equal = 1;
      while (equal < length && bytes[at + equal] === needle.charCodeAt(equal)) equal += 1;
      if (equal < length) continue;
      tell(line);
      break;
    }
  }
}

function searchable(names: readonly string[]): NonNullable<Block['searched']> {
  const bytes = Buffer.from(`${names.join('\n')}\n`, 'latin1');
  const starts = new Uint32Array(names.length + 1);
  let start = 0;
  for (const [index, name] of names.entries()) {
    starts[index] = start;
    start += name.length + 1;
  }
  starts[names.length] = start;
  return { text: bytes.toString('latin1'), bytes, starts };
}
