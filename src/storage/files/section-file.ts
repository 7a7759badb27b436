import { statSync } from 'node:fs';
import { openInPlace, PAGE, type Patch, UnexpectedContentError, writeInPlace } from './in-place.js';
import type { Prepared } from './prepared.js';

/** A part of a text, and its name. It ends with a newline, or is empty, which is as good as not being there. */
export type Section = readonly [name: string, text: string];

/** A text of ASCII in sections, in which blank lines mean nothing. */
export interface SectionedText {
  head: string;
  sections: readonly Section[];
}

/** Where a section stands. */
interface Place {
  offset: number;
  /** Bytes that it may have without moving; 0 where it may not change at all. */
  room: number;
  text: string;
}

/** What becomes of a file when sections change. */
interface Changes {
  former: ReadonlyMap<string, Place>;
  changed: ReadonlyMap<string, Place>;
  patches: readonly Patch[];
  /** Where the room for new ones begins then. */
  free: number;
}

/** A sectioned text with room in it, where its sections are, and where there is room for new ones. */
export interface Layout {
  text: string;
  places: ReadonlyMap<string, Place>;
  free: number;
}

/**
 * Room for a section is a power of two at a multiple of itself, so that it never crosses a sector of the disk or a
 * page of the page cache that it fits into: after a kill it is there whole or not at all.
 */
const LEAST_ROOM = 256;
/** Bytes to grow by: a server more. */
const SPARE = 96;
/** A blank line, as long as the least room, so that wherever a room may begin there is the beginning of a line. */
const BLANK = `${' '.repeat(LEAST_ROOM - 1)}\n`;
/**
 * Room at the end for new sections, and which part of the whole it is at least. The file is never made longer in place:
 * of one that grew, a power loss may leave the length without what stands there, and with zeros HAProxy does not start.
 */
const LEAST_AT_END = 64 * 1024;
const PART_AT_END = 8;

/** The text as it is written where nothing is to change in place. */
export function joined({ head, sections }: SectionedText): string {
  return head + sections.map(([, text]) => text).join('');
}

/** The text with room for each section to change. */
export function laidOut({ head, sections }: SectionedText): Layout {
  const places = new Map<string, Place>();
  const parts = [head];
  let length = head.length;
  const add = (text: string): void => {
    parts.push(text);
    length += text.length;
  };
  for (const [name, text] of sections) {
    if (text === '') continue;
    const room = roomFor(text);
    add(gap(length, room));
    places.set(name, { offset: length, room, text });
    add(filled(text, room));
  }
  add(gap(length, LEAST_ROOM));
  const free = length;
  const most = Math.max(LEAST_AT_END, length / PART_AT_END);
  add(blank(Math.ceil(most / LEAST_ROOM) * LEAST_ROOM));
  return { text: parts.join(''), places, free };
}

/** Whether a text says what is wanted, whatever the order of the sections and the room between them. */
export function holdsSections(text: string, { head, sections }: SectionedText): boolean {
  const lines = linesOf(text);
  const missing = new Map<string | undefined, string[]>();
  for (const [, section] of sections) if (section !== '') missing.set(linesOf(section)[0], linesOf(section));
  let at = 0;
  const comesNext = (wanted: readonly string[]): boolean => wanted.every((line) => lines[at++] === line);
  if (!comesNext(linesOf(head))) return false;
  while (at < lines.length) {
    const name = lines[at];
    const wanted = missing.get(name);
    if (!wanted || !comesNext(wanted)) return false;
    missing.delete(name);
  }
  return missing.size === 0;
}

/**
 * A file of sections that change where they stand, for what is too large to be written anew for each change. Where
 * they are is known of a text that was laid out here; a file that somebody else has touched is not written into.
 */
export class SectionFile {
  #places = new Map<string, Place>();
  #size = 0;
  #free = 0;
  /** Which file it is, as it was left. */
  #left = '';

  constructor(readonly path: string) {}

  /** Whether nobody else has touched it since it was written here. */
  get isAsLeft(): boolean {
    return this.#left !== '' && this.#facts() === this.#left;
  }

  /** The file has been written as a whole; without a layout, nothing can change in it. */
  wasWritten(layout: Layout | undefined): void {
    this.#places = new Map(layout?.places);
    this.#size = layout?.text.length ?? 0;
    this.#free = layout?.free ?? 0;
    this.#left = layout ? this.#facts() : '';
  }

  /**
   * Puts sections in place of those of the same names; a new one comes to stand behind the last.
   *
   * @throws UnexpectedContentError where there is no room, or the file is not as it was left; the error of the file
   *   system. Then nothing was changed.
   */
  prepare(sections: readonly Section[]): Prepared {
    if (!this.isAsLeft) throw new UnexpectedContentError(`${this.path} is not as it was left`);
    const { former, changed, free, patches } = this.#changesOf(sections);
    // Until it is done: a file that a failure has left half-way is not written into again.
    this.#left = '';
    const before = this.#free;
    const prepared = writeInPlace(this.path, openInPlace(this.path), this.#size, patches);
    this.#remember(changed, free);
    return {
      ...prepared,
      discard: async () => {
        await prepared.discard();
        for (const name of changed.keys()) this.#places.delete(name);
        this.#remember(former, before);
      },
    };
  }

  /** @throws UnexpectedContentError where there is no room */
  #changesOf(sections: readonly Section[]): Changes {
    const former = new Map<string, Place>();
    const changed = new Map<string, Place>();
    const patches: Patch[] = [];
    let free = this.#free;
    for (const [name, text] of sections) {
      const place = this.#places.get(name);
      if (!place && text === '') continue;
      const room = place?.room ?? roomFor(text);
      // The next place with so much room: what lies before it is blank already.
      const offset = place?.offset ?? Math.ceil(free / room) * room;
      if (room === 0 || text.length > room || offset + room > this.#size)
        throw new UnexpectedContentError(`${this.path} has no room for ${name}`);
      if (place) former.set(name, place);
      else free = offset + room;
      changed.set(name, { offset, room, text });
      patches.push({ offset, before: filled(place?.text ?? '', room), after: filled(text, room) });
    }
    return { former, changed, patches, free };
  }

  #remember(places: ReadonlyMap<string, Place>, free: number): void {
    for (const [name, place] of places) this.#places.set(name, place);
    this.#free = free;
    this.#left = this.#facts();
  }

  /** Empty where what is there cannot be what was left. */
  #facts(): string {
    const facts = statSync(this.path, { throwIfNoEntry: false });
    if (facts?.size !== this.#size) return '';
    return [facts.dev, facts.ino, facts.size, facts.mtimeMs].join(' ');
  }
}

function roomFor(text: string): number {
  let room = LEAST_ROOM;
  while (room < text.length + SPARE) room *= 2;
  return room <= PAGE ? room : 0;
}

/** What lies between the end of a text and the next place with so much room. */
function gap(length: number, room: number): string {
  return room === 0 ? '' : blank(Math.ceil(length / room) * room - length);
}

function filled(text: string, room: number): string {
  return text + blank(Math.max(0, room - text.length));
}

/** Blank lines of so many bytes. */
function blank(length: number): string {
  const whole = BLANK.repeat(Math.floor(length / BLANK.length));
  return length % BLANK.length === 0 ? whole : whole + BLANK.slice(-(length % BLANK.length));
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trimStart() !== '');
}
