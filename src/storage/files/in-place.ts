import { closeSync, fdatasync, fstatSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { type StagedWrite, UnexpectedContentError } from './staged-write.js';

const syncData = promisify(fdatasync);

/** Bytes in a page of the page cache. A write within one page is complete or absent after a kill (docs/adr/0007). */
export const PAGE_SIZE = 4096;

/**
 * Opens a file to write into it. Call it for each change, because another process may have replaced the file. Refuses a
 * file with a second hard link, because a backup made with `cp -al` must not change with it.
 *
 * @throws UnexpectedContentError if the file cannot be written in place; the error of the file system
 */
export function openInPlace(path: string): number {
  const descriptor = openForWriting(path);
  if (fstatSync(descriptor).nlink === 1) return descriptor;
  closeSync(descriptor);
  throw new UnexpectedContentError(`${path} has a second hard link`);
}

function openForWriting(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    // A file of another owner can still be replaced if the folder belongs to the suite.
    if (['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw new UnexpectedContentError(`${path} is missing or not writable`);
    throw error;
  }
}

/** A part of a file to overwrite. `before` is its current content, which is empty after the end of the file. */
export interface Patch {
  offset: number;
  before: string;
  after: string;
}

/**
 * Overwrites parts of an open file of `size` bytes, and closes the file when it is committed or discarded. Readers see
 * the new content at once. `discard` writes the old content back, which needs no space on the disk. `commit` and
 * `discard` reject with UnexpectedContentError if another process replaced, shortened or extended the file.
 *
 * @throws the error of the file system, after the old content is written back
 */
export function writeInPlace(
  path: string,
  descriptor: number,
  size: number,
  patches: readonly Patch[],
): StagedWrite {
  const newSize = Math.max(size, ...patches.map(({ after, offset }) => offset + after.length));
  const undo = (): void => {
    for (const { before, offset } of patches) writeAt(descriptor, before, offset);
    if (fstatSync(descriptor).size > size) ftruncateSync(descriptor, size);
  };
  const tryUndo = (): void => {
    try {
      undo();
    } catch {
      // The caller rewrites the whole file.
    }
  };
  try {
    for (const { after, offset } of patches) writeAt(descriptor, after, offset);
  } catch (error) {
    tryUndo();
    closeSync(descriptor);
    throw error;
  }
  const durable = syncData(descriptor);
  durable.catch(() => undefined);
  return {
    durable,
    commit: async () => {
      try {
        requireSameFile(path, descriptor, newSize);
      } catch (error) {
        tryUndo();
        throw error;
      } finally {
        closeSync(descriptor);
      }
    },
    discard: async () => {
      try {
        requireSameFile(path, descriptor, newSize);
        undo();
        await syncData(descriptor);
        requireSameFile(path, descriptor, size);
      } finally {
        closeSync(descriptor);
      }
    },
  };
}

/** Writes all of the text, as latin1: the files that the suite writes in place are ASCII. */
function writeAt(descriptor: number, text: string, offset: number): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let done = 0; done < bytes.length;)
    done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done);
}

/** @throws UnexpectedContentError if the path now names another file, or the file has another size */
function requireSameFile(path: string, descriptor: number, size: number): void {
  const present = statSync(path, { throwIfNoEntry: false });
  const { dev, ino, size: ownSize } = fstatSync(descriptor);
  if (present?.dev === dev && present.ino === ino && ownSize === size) return;
  throw Object.assign(new UnexpectedContentError(`${path} was replaced or resized during the write`), {
    code: 'ESTALE',
  });
}
