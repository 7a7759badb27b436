import { statSync } from 'node:fs';
import { openInPlace, PAGE_SIZE, type Patch, writeInPlace } from './in-place.js';
import { type StagedWrite, UnexpectedContentError } from './staged-write.js';

/** A named part of a text. It ends with a line feed; an empty section is the same as no section. */
export type Section = readonly [name: string, text: string];

/** An ASCII text in sections, in which blank lines have no meaning. */
export interface SectionedText {
  head: string;
  sections: readonly Section[];
}

/** The position of a section in the file. */
interface Extent {
  offset: number;
  /** Bytes reserved for the section, its text included; 0 for a section that cannot change in place. */
  reserved: number;
  text: string;
}

interface SectionChanges {
  before: ReadonlyMap<string, Extent>;
  after: ReadonlyMap<string, Extent>;
  patches: readonly Patch[];
  /** Where the free space starts after the change. */
  freeOffset: number;
}

/** A text with reserved space, and where its sections are. */
export interface PaddedText {
  text: string;
  extents: ReadonlyMap<string, Extent>;
  /** Where the free space for new sections starts. */
  freeOffset: number;
}

/**
 * The least space that is reserved for a section. The space is a power of two at a multiple of itself, so that a section
 * that fits into a disk sector or a page does not cross its boundary: after a kill the section is complete or absent.
 */
const MIN_RESERVED = 256;
/** Bytes that each section can grow by: the line of one more server. */
const GROWTH = 96;
/** As long as MIN_RESERVED, so that every offset where reserved space may start is the start of a line. */
const BLANK_LINE = `${' '.repeat(MIN_RESERVED - 1)}\n`;
/**
 * Free space at the end for new sections: at least MIN_FREE bytes, and at least 1/FREE_PART of the text. The file never
 * grows in place. After a power loss, a file that grew may have its new length but zeros in place of the new content,
 * and HAProxy does not start from a file with zeros.
 */
const MIN_FREE = 64 * 1024;
const FREE_PART = 8;

/** The text without reserved space, for a file that does not change in place. */
export function renderCompact({ head, sections }: SectionedText): string {
  return head + sections.map(([, text]) => text).join('');
}

/** The text with reserved space after each section and free space at the end. */
export function renderPadded({ head, sections }: SectionedText): PaddedText {
  const extents = new Map<string, Extent>();
  const parts = [head];
  let length = head.length;
  const add = (text: string): void => {
    parts.push(text);
    length += text.length;
  };
  for (const [name, text] of sections) {
    if (text === '') continue;
    const reserved = reservedFor(text);
    add(alignment(length, reserved));
    extents.set(name, { offset: length, reserved, text });
    add(padded(text, reserved));
  }
  add(alignment(length, MIN_RESERVED));
  const freeOffset = length;
  const free = Math.max(MIN_FREE, length / FREE_PART);
  add(blankLines(Math.ceil(free / MIN_RESERVED) * MIN_RESERVED));
  return { text: parts.join(''), extents, freeOffset };
}

/** Whether a text has this head and exactly these sections. Ignores the order of the sections and blank lines. */
export function hasSections(text: string, { head, sections }: SectionedText): boolean {
  const lines = linesOf(text);
  const missing = new Map<string | undefined, string[]>();
  for (const [, section] of sections) if (section !== '') missing.set(linesOf(section)[0], linesOf(section));
  let at = 0;
  const isNext = (expected: readonly string[]): boolean => expected.every((line) => lines[at++] === line);
  if (!isNext(linesOf(head))) return false;
  while (at < lines.length) {
    const firstLine = lines[at];
    const section = missing.get(firstLine);
    if (!section || !isNext(section)) return false;
    missing.delete(firstLine);
  }
  return missing.size === 0;
}

/**
 * A file whose sections change in place. It knows where the sections are, because the text was rendered by
 * `renderPadded`. It does not write into a file that another process has modified.
 */
export class SectionFile {
  #extents = new Map<string, Extent>();
  #size = 0;
  #freeOffset = 0;
  /** Identity, size and modification time after the last write; empty if the file must not be written in place. */
  #fingerprint = '';

  constructor(readonly path: string) {}

  /** Whether the file is as this object last wrote it. */
  get isUnmodified(): boolean {
    return this.#fingerprint !== '' && this.#readFingerprint() === this.#fingerprint;
  }

  /** Call it after the whole file was written: with the text, or with undefined if the file has no reserved space. */
  setContent(content: PaddedText | undefined): void {
    this.#extents = new Map(content?.extents);
    this.#size = content?.text.length ?? 0;
    this.#freeOffset = content?.freeOffset ?? 0;
    this.#fingerprint = content ? this.#readFingerprint() : '';
  }

  /**
   * Replaces the sections with the same names, and adds new ones in the free space.
   *
   * @throws UnexpectedContentError if there is no space, or the file was modified; the error of the file system. The file
   *   is then unchanged.
   */
  stageSections(sections: readonly Section[]): StagedWrite {
    if (!this.isUnmodified) throw new UnexpectedContentError(`${this.path} was modified`);
    const { before, after, freeOffset, patches } = this.#changesOf(sections);
    // Empty until the write succeeds, so that a file with half of a failed write is not changed in place again.
    this.#fingerprint = '';
    const formerFreeOffset = this.#freeOffset;
    const staged = writeInPlace(this.path, openInPlace(this.path), this.#size, patches);
    this.#setExtents(after, freeOffset);
    return {
      ...staged,
      discard: async () => {
        await staged.discard();
        for (const name of after.keys()) this.#extents.delete(name);
        this.#setExtents(before, formerFreeOffset);
      },
    };
  }

  /** @throws UnexpectedContentError if there is no space */
  #changesOf(sections: readonly Section[]): SectionChanges {
    const before = new Map<string, Extent>();
    const after = new Map<string, Extent>();
    const patches: Patch[] = [];
    let freeOffset = this.#freeOffset;
    for (const [name, text] of sections) {
      const extent = this.#extents.get(name);
      if (!extent && text === '') continue;
      const reserved = extent?.reserved ?? reservedFor(text);
      // A new section starts at the next multiple of its reserved space. The space before it is blank already.
      const offset = extent?.offset ?? Math.ceil(freeOffset / reserved) * reserved;
      if (reserved === 0 || text.length > reserved || offset + reserved > this.#size)
        throw new UnexpectedContentError(`${this.path} has no space for ${name}`);
      if (extent) before.set(name, extent);
      else freeOffset = offset + reserved;
      after.set(name, { offset, reserved, text });
      patches.push({ offset, before: padded(extent?.text ?? '', reserved), after: padded(text, reserved) });
    }
    return { before, after, patches, freeOffset };
  }

  #setExtents(extents: ReadonlyMap<string, Extent>, freeOffset: number): void {
    for (const [name, extent] of extents) this.#extents.set(name, extent);
    this.#freeOffset = freeOffset;
    this.#fingerprint = this.#readFingerprint();
  }

  /** Empty if the size shows that another process wrote the file. */
  #readFingerprint(): string {
    const stats = statSync(this.path, { throwIfNoEntry: false });
    if (stats?.size !== this.#size) return '';
    return [stats.dev, stats.ino, stats.size, stats.mtimeMs].join(' ');
  }
}

function reservedFor(text: string): number {
  let reserved = MIN_RESERVED;
  while (reserved < text.length + GROWTH) reserved *= 2;
  return reserved <= PAGE_SIZE ? reserved : 0;
}

/** Blank lines up to the next multiple of `reserved`. */
function alignment(length: number, reserved: number): string {
  return reserved === 0 ? '' : blankLines(Math.ceil(length / reserved) * reserved - length);
}

function padded(text: string, reserved: number): string {
  return text + blankLines(Math.max(0, reserved - text.length));
}

/** Blank lines with this total length in bytes. */
function blankLines(length: number): string {
  const full = BLANK_LINE.repeat(Math.floor(length / BLANK_LINE.length));
  const rest = length % BLANK_LINE.length;
  return rest === 0 ? full : full + BLANK_LINE.slice(-rest);
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trimStart() !== '');
}
