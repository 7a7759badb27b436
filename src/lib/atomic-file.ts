import { closeSync, fsync, mkdirSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Makes what was written to an open file durable. Of all that a write takes, only this waits for the disk, so only
 * this is given to another thread: the other calls are done before such a trip has begun.
 */
export const syncDescriptor: (descriptor: number) => Promise<void> = promisify(fsync);

/** A file written beside its target: once it is durable, `commit` puts it in place; `discard` forgets it. */
export interface PreparedFile {
  readonly path: string;
  /** Settles when the disk has it, or with its error. Nobody has to wait for it who discards. */
  readonly durable: Promise<void>;
  /** Renames over the target. The folder still has to be synced (`syncFolder`) for the name to survive a power loss. */
  commit(): void;
  discard(): void;
}

let sequence = 0;

/**
 * Writes `data` to a hidden temporary file in the folder of `path`, and begins to fsync it; the target is not touched
 * yet. A full or read-only disk shows here.
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
  durable.catch(() => undefined);
  return { path, durable, commit: () => renameSync(temporary, path), discard: () => remove(temporary) };
}

/** The same, durable when it answers. */
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

/** Makes renames and removals in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const descriptor = openSync(folder, 'r');
  try {
    await syncDescriptor(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Temporary file, fsync, rename, fsync of the folder: a reader never sees half a file. Makes the folder if needed. */
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
    // It was never made, or is gone already.
  }
}
