import {
  appendFileSync,
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  fstatSync,
  ftruncateSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { dirname } from 'node:path';
import { syncDescriptor, syncFolder } from '../../lib/atomic-file.js';

const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;

/** Longer than most lines. */
const FIRST_LINE_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;
/** Holds about 200 lines. While no line ends in a block, the next blocks are larger. */
const BLOCK_BYTES = 64 * 1024;
const MAX_BLOCK_BYTES = 4 * 1024 * 1024;
/** A longer line is not read: it is damaged. The line of an import of 100,000 domains has about 25 MB. */
const MAX_LINE_BYTES = 256 * 1024 * 1024;

/** A line with its place in the file, in bytes. `end` includes the line feed. */
export interface Line {
  text: string;
  start: number;
  end: number;
}

/** The size at which a new file starts, and how many files are kept, including the current one. */
export interface LogLimits {
  maxBytes: number;
  maxFiles: number;
}

/** Lines in a file, and older lines in `<file>.1`, `<file>.2`, …: appended, fsynced, rotated by size. */
export class LogFile {
  constructor(
    readonly path: string,
    private readonly limits: LogLimits,
  ) {}

  /** Creates the folder and the file. Removes an incomplete last line, which a power loss can leave. */
  async open(): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true });
    const descriptor = this.#open();
    closeSync(descriptor);
    const size = sizeOf(this.path);
    const end = await endOfLines(this.path);
    if (end < size) await this.truncateTo(end);
  }

  /**
   * Appends text and waits until it is durable. If it throws, the text is not in the file.
   *
   * @throws the error of the file system
   */
  async append(text: string): Promise<void> {
    const { durable } = await this.stageText(text);
    await durable;
  }

  /**
   * Appends text and starts to fsync it. `size` is the length of the file before the text, for `truncateTo`. If
   * `durable` rejects, the text is removed again.
   *
   * @throws the error of the file system; the file is then unchanged
   */
  async stageText(text: string): Promise<{ size: number; durable: Promise<void> }> {
    await this.#rotateFor(Buffer.byteLength(text));
    const descriptor = this.#open();
    const { size } = fstatSync(descriptor);
    try {
      appendFileSync(descriptor, text);
    } catch (error) {
      tryShorten(descriptor, size);
      closeSync(descriptor);
      throw error;
    }
    const durable = this.#sync(descriptor, size);
    durable.catch(() => undefined);
    return { size, durable };
  }

  async #sync(descriptor: number, size: number): Promise<void> {
    try {
      await syncDescriptor(descriptor);
      if (size === 0) await syncFolder(dirname(this.path));
    } catch (error) {
      tryShorten(descriptor, size);
      throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  /** Truncates the file to `size` bytes. Needs no space on the disk. */
  async truncateTo(size: number): Promise<void> {
    await this.#withFile(async (descriptor) => {
      shorten(descriptor, size);
      await syncDescriptor(descriptor);
    });
  }

  /**
   * Renames all files: `history.jsonl.2` becomes `history.jsonl<suffix>.2`. Returns whether there was one with a line.
   *
   * @throws the error of the file system
   */
  async setAside(suffix: string): Promise<boolean> {
    const numbers = Array.from({ length: this.limits.maxFiles }, (_, number) => number);
    const used = numbers.filter((number) => sizeOf(this.#numbered(number)) > 0);
    for (const number of used)
      renameSync(this.#numbered(number), `${this.path}${suffix}${number === 0 ? '' : `.${number}`}`);
    if (used.length > 0) await syncFolder(dirname(this.path));
    return used.length > 0;
  }

  /** Copies the bytes from `start` to the end of the file into `<file><suffix>`. */
  async copyFrom(start: number, suffix: string): Promise<void> {
    await pipeline(
      createReadStream(this.path, { start }),
      createWriteStream(`${this.path}${suffix}`, { mode: 0o600 }),
    );
  }

  /** The files that are not empty, newest first. One that is missing does not hide the older ones. */
  async *files(): AsyncGenerator<string> {
    for (let number = 0; number < this.limits.maxFiles; number += 1) {
      const path = this.#numbered(number);
      if (sizeOf(path) > 0) yield path;
    }
  }

  /**
   * The lines of a file, the last one first, without empty ones. Reads a block at a time, so that the newest lines cost
   * little. A line of more than 256 MiB has an empty text.
   */
  async *linesFromEnd(path: string): AsyncGenerator<Line> {
    const handle = await open(path, 'r');
    try {
      const { size } = await handle.stat();
      /** The end of the line whose beginning is not found yet, and what was read of it, last part first. */
      let end = size;
      let parts: Buffer[] = [];
      let blockBytes = BLOCK_BYTES;
      for (let position = size; position > 0;) {
        const start = Math.max(0, position - blockBytes);
        const block = await readAt(handle, start, position - start);
        let to = block.length;
        const former = end;
        for (;;) {
          // A line feed at the very end of the line ends the line itself.
          const from = start + to === end ? to - 2 : to - 1;
          const feed = from < 0 ? -1 : block.lastIndexOf(LINE_FEED, from);
          if (feed < 0) break;
          yield* line([block.subarray(feed + 1, to), ...parts.toReversed()], start + feed + 1, end);
          parts = [];
          to = feed + 1;
          end = start + to;
        }
        // Only the length of a line that is too long is needed.
        if (end - start <= MAX_LINE_BYTES) parts.push(block.subarray(0, to));
        else parts = [];
        blockBytes = end < former ? BLOCK_BYTES : Math.min(2 * blockBytes, MAX_BLOCK_BYTES);
        position = start;
      }
      yield* line(parts.toReversed(), 0, end);
    } finally {
      await handle.close();
    }
  }

  /** The first bytes of a file, as text. */
  async beginning(path: string, bytes: number): Promise<string> {
    const handle = await open(path, 'r');
    try {
      return (await readAt(handle, 0, bytes)).toString('utf8');
    } finally {
      await handle.close();
    }
  }

  async firstLine(path: string): Promise<string> {
    const handle = await open(path, 'r');
    try {
      for (let length = FIRST_LINE_BYTES; ; length *= 2) {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, 0);
        const end = buffer.subarray(0, bytesRead).indexOf(LINE_FEED);
        if (end >= 0 || bytesRead < length) return buffer.toString('utf8', 0, end < 0 ? bytesRead : end);
      }
    } finally {
      await handle.close();
    }
  }

  async #withFile<T>(work: (descriptor: number) => Promise<T>): Promise<T> {
    const descriptor = this.#open();
    try {
      return await work(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }

  /**
   * Opens the file for each write, so that no line goes to a file that the operator moved away. With O_NONBLOCK, opening
   * a pipe that no process reads fails instead of blocking.
   */
  #open(): number {
    return openSync(this.path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
  }

  async #rotateFor(bytes: number): Promise<void> {
    const size = sizeOf(this.path);
    if (size === 0 || size + bytes <= this.limits.maxBytes) return;
    for (let number = this.limits.maxFiles - 1; number > 0; number -= 1)
      if (sizeOf(this.#numbered(number - 1)) > 0)
        renameSync(this.#numbered(number - 1), this.#numbered(number));
    this.#removeOldest(bytes);
    await syncFolder(dirname(this.path));
  }

  /** A line can be longer than `maxBytes`, so the sum of the files can be above what `maxFiles` files may have. */
  #removeOldest(bytes: number): void {
    let total = bytes;
    for (let number = 1; number < this.limits.maxFiles; number += 1) {
      const size = sizeOf(this.#numbered(number));
      total += size;
      if (size > 0 && total > this.limits.maxBytes * this.limits.maxFiles) unlinkSync(this.#numbered(number));
    }
  }

  #numbered(number: number): string {
    return number === 0 ? this.path : `${this.path}.${number}`;
  }
}

/** Empty for a line without text. */
function* line(parts: readonly Buffer[], start: number, end: number): Generator<Line> {
  if (end - start > MAX_LINE_BYTES) yield { text: '', start, end };
  const text = end - start > MAX_LINE_BYTES ? '' : Buffer.concat(parts).toString('utf8').replace(/\n$/, '');
  if (text !== '') yield { text, start, end };
}

/** Fewer bytes at the end of the file. */
async function readAt(handle: FileHandle, start: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** Where the last complete line of a file ends. */
async function endOfLines(path: string): Promise<number> {
  const handle = await open(path, 'r');
  try {
    let { size: end } = await handle.stat();
    while (end > 0) {
      const start = Math.max(0, end - MAX_BLOCK_BYTES);
      const found = (await readAt(handle, start, end - start)).lastIndexOf(LINE_FEED);
      if (found >= 0) return start + found + 1;
      end = start;
    }
    return 0;
  } finally {
    await handle.close();
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function tryShorten(descriptor: number, size: number): void {
  try {
    shorten(descriptor, size);
  } catch {
    // The next start removes an incomplete line. A complete line has a revision that does not exist.
  }
}

/** Never extends the file: after a rotation it may already be shorter than `size`. */
function shorten(descriptor: number, size: number): void {
  if (fstatSync(descriptor).size > size) ftruncateSync(descriptor, size);
}
