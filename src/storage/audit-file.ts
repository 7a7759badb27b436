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
import { syncDescriptor, syncFolder } from '../lib/atomic-file.js';
import type { Settings } from '../settings/settings.js';

const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;

/** No line is longer: arguments are cut long before. */
const FIRST_LINE_BYTES = 64 * 1024;

/** Lines in `audit.jsonl`, older ones in `audit.jsonl.1`, `audit.jsonl.2`, …: appended, fsynced, rotated by size. */
export class AuditFile {
  constructor(
    readonly path: string,
    private readonly limits: Settings['auditLimits'],
  ) {}

  /** Makes the folder, and cuts off what a power loss left of a line: what it told of was never acknowledged. */
  async open(): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true });
    await this.#appending(async (descriptor) => {
      const { size } = fstatSync(descriptor);
      if (size === 0) return;
      const end = readFileSync(this.path).lastIndexOf(0x0a) + 1;
      if (end < size) ftruncateSync(descriptor, end);
    });
  }

  /**
   * Durable when it answers, and not there at all when it throws.
   *
   * @throws the error of the file system
   */
  async append(text: string): Promise<void> {
    const { durable } = await this.begin(text);
    await durable;
  }

  /**
   * Appends and begins to fsync. `size` is the length before, for `cutTo`; when `durable` rejects, it has been cut
   * off already.
   *
   * @throws the error of the file system; then nothing was written
   */
  async begin(text: string): Promise<{ size: number; durable: Promise<void> }> {
    await this.#rotateFor(Buffer.byteLength(text));
    const descriptor = this.#open();
    const { size } = fstatSync(descriptor);
    try {
      appendFileSync(descriptor, text);
    } catch (error) {
      takeBack(descriptor, size);
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
      takeBack(descriptor, size);
      throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  /** Takes back what was appended since. Needs no space on the disk. */
  async cutTo(size: number): Promise<void> {
    await this.#appending(async (descriptor) => {
      cutDown(descriptor, size);
      await syncDescriptor(descriptor);
    });
  }

  /** The files that there are, newest first. */
  async *files(): AsyncGenerator<string> {
    for (let number = 0; number < this.limits.maxFiles; number += 1) {
      const path = this.#numbered(number);
      // The newest may be missing just after a rotation; the others have no gaps.
      if (sizeOf(path) > 0) yield path;
      else if (number > 0) return;
    }
  }

  /** The first line of a file. */
  async firstLine(path: string): Promise<string> {
    const handle = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(FIRST_LINE_BYTES), 0, FIRST_LINE_BYTES, 0);
      return buffer.toString('utf8', 0, bytesRead).split('\n', 1)[0] ?? '';
    } finally {
      await handle.close();
    }
  }

  async #appending<T>(work: (descriptor: number) => Promise<T>): Promise<T> {
    const descriptor = this.#open();
    try {
      return await work(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }

  /**
   * Opened each time, so that a file that an operator moved away is not written to for ever. Something that is no file,
   * such as a pipe that nobody reads, is an error and nothing to wait for.
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

function takeBack(descriptor: number, size: number): void {
  try {
    cutDown(descriptor, size);
  } catch {
    // The next start cuts off half a line; a whole one is told of by its revision.
  }
}

/** Never makes it longer: somebody may have rotated it meanwhile, and then what was to be cut off is not in it. */
function cutDown(descriptor: number, size: number): void {
  if (fstatSync(descriptor).size > size) ftruncateSync(descriptor, size);
}
