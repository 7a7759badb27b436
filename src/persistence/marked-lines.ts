import {
  closeSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
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

/** Lines to come, with the mark that they have now, and lines to go. */
interface MarkedChange {
  size: number;
  addition: (mark: string) => string;
  drops: readonly Line[];
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
      const addition = appended(size, lines, endsInLine(descriptor, size));
      try {
        writeAll(descriptor, addition(COUNTS_NOT), size);
      } catch (error) {
        cut(descriptor, size);
        throw error;
      }
      const durable = syncData(descriptor);
      durable.catch(() => undefined);
      return {
        durable,
        commit: () => this.#commit(descriptor, { size, addition, drops }),
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

  async #commit(descriptor: number, { size, addition, drops }: MarkedChange): Promise<void> {
    try {
      this.#mustBe(descriptor);
      // New lines first: of two lines with one key the first counts, so that a name that moves is never missing.
      writeAll(descriptor, addition(COUNTS), size);
      for (const { offset } of drops) writeSync(descriptor, COUNTS_NOT, offset);
      await syncData(descriptor);
    } catch (error) {
      putBack(descriptor, { size, addition, drops });
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
      // One that is somebody else's can still be replaced as a whole, where the folder is the suite's.
      if (['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? ''))
        throw new UnexpectedContentError(`${this.path} is gone or may not be written`);
      throw error;
    }
  }
}

/** The lines of a file that count, without their marks. What a power loss left of a last line does not count. */
export function linesThatCount(text: string): string[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.filter((line) => line !== '' && !line.startsWith(COUNTS_NOT)).map((line) => line.trimStart());
}

/** The same lines, each with its number in the file, from 1 on. */
export function numberedLinesThatCount(text: string): { number: number; line: string }[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.flatMap((whole, index) =>
    linesThatCount(`${whole}\n`).map((line) => ({ number: index + 1, line })),
  );
}

/**
 * The text to append, with one mark or the other. It is written twice, so that what is within a page comes to count at
 * once. No line crosses a page, unless it is longer than one. A last line that nobody ended is ended first.
 */
function appended(size: number, lines: readonly string[], ended: boolean): (mark: string) => string {
  const parts: string[] = [ended ? '' : '\n'];
  let length = ended ? 0 : 1;
  for (const line of lines) {
    const full = line.length + COUNTS.length + 1;
    const left = PAGE - ((size + length) % PAGE);
    const padding = full > left && full <= PAGE ? left : 0;
    parts.push('\n'.repeat(padding), line);
    length += padding + full;
  }
  const [end = '', ...rest] = parts;
  return (mark) => end + rest.map((part, index) => (index % 2 === 0 ? part : `${mark}${part}\n`)).join('');
}

function endsInLine(descriptor: number, size: number): boolean {
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] === LINE_END);
}

/** Each line as often as it stands there. @throws UnexpectedContentError where one is not there, or does not count */
function linesOf(content: Buffer, lines: readonly string[]): Line[] {
  return lines.flatMap((line) => {
    const found: Line[] = [];
    const sought = Buffer.from(`${line}\n`, 'latin1');
    for (let at = content.indexOf(sought); at >= 0; at = content.indexOf(sought, at + 1)) {
      const isMarked = content[at - 1] === COUNTS.charCodeAt(0);
      const offset = isMarked ? at - 1 : at;
      if (offset === 0 || content[offset - 1] === LINE_END)
        found.push({ offset, byte: content[offset] ?? 0 });
    }
    if (found.length === 0) throw new UnexpectedContentError(`there is no line ${JSON.stringify(line)}`);
    return found;
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
function putBack(descriptor: number, { size, addition, drops }: MarkedChange): void {
  try {
    writeAll(descriptor, addition(COUNTS_NOT), size);
    for (const { offset, byte } of drops) writeSync(descriptor, Buffer.of(byte), 0, 1, offset);
  } catch {
    // The caller writes the whole file anew.
  }
}
