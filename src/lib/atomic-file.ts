import { closeSync, fsync, mkdirSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Makes the data written to an open file durable. Only fsync is asynchronous, because it waits for the disk. The other
 * calls take less time than a round trip through the thread pool.
 */
export const syncDescriptor: (descriptor: number) => Promise<void> = promisify(fsync);

/** A temporary file beside its target. Wait for `durable`, then call `commit` or `discard`. */
export interface PreparedFile {
  readonly path: string;
  /** Resolves after fsync, or rejects with its error. Need not be awaited before `discard`. */
  readonly durable: Promise<void>;
  /** Renames the file over the target. Call `syncFolder` afterwards, or a power loss can undo the rename. */
  commit(): void;
  discard(): void;
}

let sequence = 0;

/**
 * Writes `data` to a hidden temporary file in the folder of `path` and starts its fsync. The target does not change
 * yet. A full or read-only disk fails here.
 *
 * @throws the error of the file system
 */
export function beginFile(path: string, data: string | Uint8Array, mode = 0o644): PreparedFile {
  sequence += 1;
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${sequence}.tmp`);
  const descriptor = openSync(temporary, 'wx', mode);
  try {
    writeFileSync(descriptor, data);
  } catch (error) {
    closeSync(descriptor);
    remove(temporary);
    throw error;
  }
  const durable = syncDescriptor(descriptor).finally(() => closeSync(descriptor));
  // A caller that discards the file does not await `durable`.
  durable.catch(() => undefined);
  return { path, durable, commit: () => renameSync(temporary, path), discard: () => remove(temporary) };
}

/** Like `beginFile`, and waits until the temporary file is durable. @throws the error of the file system */
export async function prepareFile(
  path: string,
  data: string | Uint8Array,
  mode = 0o644,
): Promise<PreparedFile> {
  const file = beginFile(path, data, mode);
  try {
    await file.durable;
  } catch (error) {
    file.discard();
    throw error;
  }
  return file;
}

/** Makes renames and removals in a folder durable. @throws the error of the file system */
export async function syncFolder(folder: string): Promise<void> {
  const descriptor = openSync(folder, 'r');
  try {
    await syncDescriptor(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Replaces a file by temporary file, fsync, rename and fsync of the folder: a reader never sees a partial file. Creates
 * the folder if it is missing.
 *
 * @throws the error of the file system
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const file = await prepareFile(path, data, mode);
  try {
    file.commit();
  } catch (error) {
    file.discard();
    throw error;
  }
  await syncFolder(dirname(path));
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The file does not exist.
  }
}
