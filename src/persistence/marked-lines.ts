import {
  closeSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import type { Prepared } from './prepared.js';

const syncData = promisify(fdatasync);

/** The first byte of a line. A line that is not marked at all counts. */
const COUNTS = ' ';
const COUNTS_NOT = '#';
const LINE_END = 0x0a;

/** Pages of the page cache: a write within one is there for a reader whole or not at all. */
const PAGE = 4096;

/** Where a line begins, mark or not, and with what. */
interface Line {
  offset: number;
  byte: number;
}

/** Where something else than expected was found: the file has to be written anew as a whole. */
export class UnexpectedContentError extends Error {}

/**
 * A file of lines that grows at its end, for what is too large to be written anew for each change. Whether a line
 * counts is said by its first byte, and one byte is always written whole. So a new line is appended as `#…`, which
 * takes the space on the disk and means nothing to anybody, and counts from the moment at which its mark becomes a
 * blank; a line is taken out by a mark over its first byte. HAProxy reads its maps so: a line that begins with `#` is
 * a comment, and leading blanks are skipped (configuration manual, "map").
 *
 * The file is opened anew each time, so that one that somebody put in its place is what is changed.
 */
export class MarkedLines {
  constructor(readonly path: string) {}

  /**
   * Appends lines that do not count yet. `commit` makes them count and takes the lines out that `outdated`
   * names, whole and without a mark; `discard` cuts the new ones off.
   *
   * @throws UnexpectedContentError where there is no such file or it lacks one of those lines; the error of the file
   *   system. Then nothing was changed.
   */
  prepare(lines: readonly string[], outdated: readonly string[] = []): Prepared {
    const descriptor = this.#open();
    try {
      const drops = outdated.length === 0 ? [] : linesOf(readFileSync(descriptor), outdated);
      const { size } = fstatSync(descriptor);
      const { text, marks } = appended(size, lines);
      try {
        writeAll(descriptor, text, size);
      } catch (error) {
        cut(descriptor, size);
        throw error;
      }
      const durable = syncData(descriptor);
      durable.catch(() => undefined);
      return {
        durable,
        commit: () => this.#commit(descriptor, marks, drops),
        discard: async () => {
          cut(descriptor, size);
          closeSync(descriptor);
        },
      };
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  async #commit(descriptor: number, marks: readonly number[], drops: readonly Line[]): Promise<void> {
    try {
      this.#mustBe(descriptor);
      // New lines first: of two lines with one key the first counts, so that a name that moves is never missing.
      for (const offset of marks) writeSync(descriptor, COUNTS, offset);
      for (const { offset } of drops) writeSync(descriptor, COUNTS_NOT, offset);
      await syncData(descriptor);
    } catch (error) {
      putBack(descriptor, marks, drops);
      throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  /** What counts in a file that nobody will open again is not kept. */
  #mustBe(descriptor: number): void {
    const there = statSync(this.path, { throwIfNoEntry: false });
    const { dev, ino } = fstatSync(descriptor);
    if (there?.dev === dev && there.ino === ino) return;
    throw Object.assign(new Error(`${this.path} was replaced while it was written to`), { code: 'ESTALE' });
  }

  #open(): number {
    try {
      return openSync(this.path, 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw new UnexpectedContentError(`${this.path} is gone`);
      throw error;
    }
  }
}

/** The lines of a file that count, without their marks. What a power loss left of a last line does not count. */
export function linesThatCount(text: string): string[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.filter((line) => line !== '' && !line.startsWith(COUNTS_NOT)).map((line) => line.trimStart());
}

/** The text to append, and where its marks will be. No line crosses a page, unless it is longer than one. */
function appended(size: number, lines: readonly string[]): { text: string; marks: number[] } {
  let text = '';
  const marks: number[] = [];
  for (const line of lines) {
    const full = `${COUNTS_NOT}${line}\n`;
    const left = PAGE - ((size + text.length) % PAGE);
    if (full.length > left && full.length <= PAGE) text += '\n'.repeat(left);
    marks.push(size + text.length);
    text += full;
  }
  return { text, marks };
}

/** @throws UnexpectedContentError where one of the lines is not there, or does not count */
function linesOf(content: Buffer, lines: readonly string[]): Line[] {
  return lines.map((line) => {
    const sought = Buffer.from(`${line}\n`, 'latin1');
    for (let at = content.indexOf(sought); at >= 0; at = content.indexOf(sought, at + 1)) {
      const isMarked = content[at - 1] === COUNTS.charCodeAt(0);
      const offset = isMarked ? at - 1 : at;
      if (offset === 0 || content[offset - 1] === LINE_END) return { offset, byte: content[offset] ?? 0 };
    }
    throw new UnexpectedContentError(`there is no line ${JSON.stringify(line)}`);
  });
}

function writeAll(descriptor: number, text: string, offset: number): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let done = 0; done < bytes.length;)
    done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done);
}

function cut(descriptor: number, size: number): void {
  try {
    ftruncateSync(descriptor, size);
  } catch {
    // What stays does not count.
  }
}

/** After a failure: as before, as far as the disk lets it. */
function putBack(descriptor: number, marks: readonly number[], drops: readonly Line[]): void {
  try {
    for (const offset of marks) writeSync(descriptor, COUNTS_NOT, offset);
    for (const { offset, byte } of drops) writeSync(descriptor, Buffer.of(byte), 0, 1, offset);
  } catch {
    // The caller writes the whole file anew.
  }
}
