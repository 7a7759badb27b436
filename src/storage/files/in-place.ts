import { closeSync, fdatasync, fstatSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Prepared } from './prepared.js';

const syncData = promisify(fdatasync);

/** Pages of the page cache: after a kill, a write within one is there whole or not at all (docs/adr/0007). */
export const PAGE = 4096;

/** Where something else than expected was found: the file has to be written anew as a whole. */
export class UnexpectedContentError extends Error {}

/**
 * Opens a file to write into it, anew for each change, so that one that somebody put in its place is what is changed.
 * A backup made of hard links (`cp -al`) must not change along with it.
 *
 * @throws UnexpectedContentError where there is none to write to; the error of the file system
 */
export function openInPlace(path: string): number {
  const descriptor = openToWrite(path);
  if (fstatSync(descriptor).nlink === 1) return descriptor;
  closeSync(descriptor);
  throw new UnexpectedContentError(`${path} is also somewhere else, as a hard link`);
}

function openToWrite(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    // One that is somebody else's can still be replaced as a whole, where the folder is the suite's.
    if (['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw new UnexpectedContentError(`${path} is gone or may not be written`);
    throw error;
  }
}

/** A part of a file that changes: what is there, nothing where the file ends, and what is to be there. */
export interface Patch {
  offset: number;
  before: string;
  after: string;
}

/**
 * Writes into an open file of `size` bytes, which is closed at the end of it all. What is written is there for a
 * reader at once, and counts; to `discard` puts back what was there, which needs no space. Both reject where somebody
 * has put another file in its place meanwhile, or made it shorter or longer.
 *
 * @throws the error of the file system; then it is as before
 */
export function writeInPlace(
  path: string,
  descriptor: number,
  size: number,
  patches: readonly Patch[],
): Prepared {
  const written = Math.max(size, ...patches.map(({ after, offset }) => offset + after.length));
  const undo = (): void => {
    for (const { before, offset } of patches) writeAt(descriptor, before, offset);
    if (fstatSync(descriptor).size > size) ftruncateSync(descriptor, size);
  };
  const tryToUndo = (): void => {
    try {
      undo();
    } catch {
      // The caller writes the whole file anew.
    }
  };
  try {
    for (const { after, offset } of patches) writeAt(descriptor, after, offset);
  } catch (error) {
    tryToUndo();
    closeSync(descriptor);
    throw error;
  }
  const durable = syncData(descriptor);
  durable.catch(() => undefined);
  return {
    durable,
    commit: async () => {
      try {
        mustStillBe(path, descriptor, written);
      } catch (error) {
        tryToUndo();
        throw error;
      } finally {
        closeSync(descriptor);
      }
    },
    discard: async () => {
      try {
        mustStillBe(path, descriptor, written);
        undo();
        await syncData(descriptor);
        mustStillBe(path, descriptor, size);
      } finally {
        closeSync(descriptor);
      }
    },
  };
}

/** All of it, as latin1: what the suite writes in place is ASCII. */
function writeAt(descriptor: number, text: string, offset: number): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let done = 0; done < bytes.length;)
    done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done);
}

/** What was written into a file that nobody will open again is not kept, and what came in its place is not ours. */
function mustStillBe(path: string, descriptor: number, size: number): void {
  const there = statSync(path, { throwIfNoEntry: false });
  const { dev, ino, size: own } = fstatSync(descriptor);
  if (there?.dev === dev && there.ino === ino && own === size) return;
  throw Object.assign(new UnexpectedContentError(`${path} was replaced or cut while it was written to`), {
    code: 'ESTALE',
  });
}
