import { mkdir, open, readFile, rename, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '../common/atomic-file.js';
import type { Settings } from '../settings/settings.js';

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
    await this.#appending(async (handle) => {
      const { size } = await handle.stat();
      if (size === 0) return;
      const text = await readFile(this.path);
      const end = text.lastIndexOf(0x0a) + 1;
      if (end < size) await handle.truncate(end);
    });
  }

  /**
   * Durable when it answers, and not there at all when it throws. Gives the length before, for `cutTo`.
   *
   * @throws the error of the file system
   */
  async append(text: string): Promise<number> {
    await this.#rotateFor(Buffer.byteLength(text));
    return this.#appending(async (handle) => {
      const { size } = await handle.stat();
      try {
        await handle.appendFile(text);
        await handle.sync();
        if (size === 0) await syncFolder(dirname(this.path));
      } catch (error) {
        await handle.truncate(size).catch(() => undefined);
        throw error;
      }
      return size;
    });
  }

  /** Takes back what was appended since. Needs no space on the disk. */
  async cutTo(size: number): Promise<void> {
    await this.#appending(async (handle) => {
      await handle.truncate(size);
      await handle.sync();
    });
  }

  /** The files that there are, newest first. */
  async *files(): AsyncGenerator<string> {
    for (let number = 0; number < this.limits.maxFiles; number += 1) {
      const path = this.#numbered(number);
      // The newest may be missing just after a rotation; the others have no gaps.
      if ((await sizeOf(path)) > 0) yield path;
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

  async #appending<T>(work: (handle: FileHandle) => Promise<T>): Promise<T> {
    // Opened each time, so that a file that an operator moved away is not written to for ever.
    const handle = await open(this.path, 'a', 0o600);
    try {
      return await work(handle);
    } finally {
      await handle.close();
    }
  }

  async #rotateFor(bytes: number): Promise<void> {
    const size = await sizeOf(this.path);
    if (size === 0 || size + bytes <= this.limits.maxBytes) return;
    for (let number = this.limits.maxFiles - 1; number > 0; number -= 1)
      await rename(this.#numbered(number - 1), this.#numbered(number)).catch(
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') throw error;
        },
      );
    await syncFolder(dirname(this.path));
  }

  #numbered(number: number): string {
    return number === 0 ? this.path : `${this.path}.${number}`;
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
