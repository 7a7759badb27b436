import {
  appendFileSync,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
} from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDescriptor, syncFolder } from '../../lib/atomic-file.js';

const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;

/** Longer than most lines. */
const FIRST_LINE_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;
/** Holds about 200 lines. */
const BLOCK_BYTES = 64 * 1024;

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
    await this.#withFile(async (descriptor) => {
      const { size } = fstatSync(descriptor);
      if (size === 0) return;
      const end = readFileSync(this.path).lastIndexOf(LINE_FEED) + 1;
      if (end < size) ftruncateSync(descriptor, end);
    });
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

  /** Removes bytes from the end of the file. */
  async removeLast(bytes: number): Promise<void> {
    await this.truncateTo(Math.max(0, sizeOf(this.path) - bytes));
  }

  /** The files that are not empty, newest first. */
  async *files(): AsyncGenerator<string> {
    for (let number = 0; number < this.limits.maxFiles; number += 1) {
      const path = this.#numbered(number);
      // The newest file may be missing after a rotation. The others have no gaps.
      if (sizeOf(path) > 0) yield path;
      else if (number > 0) return;
    }
  }

  /** The lines of a file, the last one first. Reads a block at a time, so that the newest lines cost little. */
  async *linesFromEnd(path: string): AsyncGenerator<string> {
    const handle = await open(path, 'r');
    try {
      let { size: end } = await handle.stat();
      let rest = Buffer.alloc(0);
      while (end > 0) {
        const start = Math.max(0, end - BLOCK_BYTES);
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(end - start), 0, end - start, start);
        rest = Buffer.concat([buffer.subarray(0, bytesRead), rest]);
        end = start;
        // The first line of the block may begin in the block before it.
        const complete = end === 0 ? 0 : rest.indexOf(LINE_FEED) + 1;
        if (end > 0 && complete === 0) continue;
        const lines = rest.toString('utf8', complete).split('\n');
        rest = rest.subarray(0, complete);
        for (const line of lines.toReversed()) if (line !== '') yield line;
      }
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
    await syncFolder(dirname(this.path));
  }

  #numbered(number: number): string {
    return number === 0 ? this.path : `${this.path}.${number}`;
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
