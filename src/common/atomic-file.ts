import { mkdir, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** A file written and fsynced beside its target: `commit` puts it in place, `discard` forgets it. */
export interface PreparedFile {
  readonly path: string;
  /** Renames over the target. The folder still has to be synced (`syncFolder`) for the name to survive a power loss. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

let sequence = 0;

/** Writes `data` to a hidden temporary file in the folder of `path` and fsyncs it; the target is not touched yet. */
export async function prepareFile(
  path: string,
  data: string | Uint8Array,
  mode = 0o644,
): Promise<PreparedFile> {
  sequence += 1;
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${sequence}.tmp`);
  const discard = () => unlink(temporary).catch(() => undefined);
  try {
    const handle = await open(temporary, 'wx', mode);
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    await discard();
    throw error;
  }
  return { path, commit: () => rename(temporary, path), discard };
}

/** Makes renames and removals in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Temporary file, fsync, rename, fsync of the folder: a reader never sees half a file. Makes the folder if needed. */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const file = await prepareFile(path, data, mode);
  try {
    await file.commit();
  } catch (error) {
    await file.discard();
    throw error;
  }
  await syncFolder(dirname(path));
}
