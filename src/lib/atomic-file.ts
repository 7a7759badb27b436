import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Makes the data written to an open file durable. Only fsync is asynchronous, because it waits for the disk. The other
 * calls take less time than a round trip through the thread pool.
 */
export const syncDescriptor: (descriptor: number) => Promise<void> = promisify(fsync);

/** A temporary file beside its target. Wait for `durable`, then call `commit` or `discard`. */
export interface PreparedFile {
  readonly path: string;
  /** The folder of the target, to fsync after `commit`. It is not the folder of `path` if `path` is a symbolic link. */
  readonly folder: string;
  /** Resolves after fsync, or rejects with its error. Need not be awaited before `discard`. */
  readonly durable: Promise<void>;
  /** Renames the file over the target. Call `syncFolder` afterwards, or a power loss can undo the rename. */
  commit(): void;
  discard(): void;
}

/** As many symbolic links as Linux follows for one path (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * The file that `path` names after all symbolic links. The file may be missing, and its folder too.
 *
 * @throws an error with the code ELOOP if the links form a loop; the error of the file system
 */
export function linkTarget(path: string): string {
  let target = path;
  for (let links = 0; links <= MAX_LINKS; links += 1) {
    if (lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink() !== true)
      return target === path || !existsSync(dirname(target))
        ? target
        : join(realpathSync(dirname(target)), basename(target));
    const link = readlinkSync(target);
    // A relative link starts at the real folder of the link, because `..` may leave a folder that is a link itself.
    target = isAbsolute(link) ? link : `${realpathSync(dirname(target))}/${link}`;
  }
  throw Object.assign(new Error(`${path} is a symbolic link that leads back to itself`), { code: 'ELOOP' });
}

let sequence = 0;

/** The mode of a new file, unless the caller gives one. */
const NEW_FILE_MODE = 0o644;

/**
 * Writes `data` to a hidden temporary file in the folder of the target and starts its fsync. The target does not change
 * yet. Without a `mode`, a file that exists keeps its mode and owner, which the operator may have set. If `path` is a symbolic link, the target is the file that it leads to, and the link stays. A full or read-only disk
 * fails here.
 *
 * @throws the error of the file system
 */
export function beginFile(path: string, data: string | Uint8Array, mode?: number): PreparedFile {
  return beginTarget(path, linkTarget(path), data, mode);
}

/** As `beginFile` with a known target. If `target` is a symbolic link itself, the file replaces the link. */
function beginTarget(path: string, target: string, data: string | Uint8Array, mode?: number): PreparedFile {
  sequence += 1;
  const folder = dirname(target);
  const temporary = join(folder, `.${basename(target)}.${process.pid}.${sequence}.tmp`);
  const descriptor = openSync(temporary, 'wx', mode ?? NEW_FILE_MODE);
  try {
    if (mode === undefined) keepOwnerAndMode(descriptor, target);
    writeFileSync(descriptor, data);
  } catch (error) {
    closeSync(descriptor);
    remove(temporary);
    throw error;
  }
  const durable = syncDescriptor(descriptor).finally(() => closeSync(descriptor));
  // A caller that discards the file does not await `durable`.
  durable.catch(() => undefined);
  return {
    path,
    folder,
    durable,
    commit: () => renameSync(temporary, target),
    discard: () => remove(temporary),
  };
}

/** Gives an open file the owner and the mode of `target`. A user that may not do so keeps the mode of a new file. */
function keepOwnerAndMode(descriptor: number, target: string): void {
  const former = lstatSync(target, { throwIfNoEntry: false });
  if (former?.isFile() !== true) return;
  const { uid, gid } = fstatSync(descriptor);
  try {
    if (uid !== former.uid || gid !== former.gid) fchownSync(descriptor, former.uid, former.gid);
    // In-place writes need the write permission of the owner.
    fchmodSync(descriptor, (former.mode & 0o777) | 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPERM' && code !== 'EINVAL') throw error;
  }
}

/** Like `beginFile`, and waits until the temporary file is durable. @throws the error of the file system */
export async function prepareFile(
  path: string,
  data: string | Uint8Array,
  mode?: number,
): Promise<PreparedFile> {
  return whenDurable(beginFile(path, data, mode));
}

async function whenDurable(file: PreparedFile): Promise<PreparedFile> {
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
 * the folder if it is missing. Keeps mode and owner as `beginFile` does. Follows a symbolic link; with `replaceLink` the file replaces the link, for a link that
 * leads to a file of another program.
 *
 * @throws the error of the file system
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  mode?: number,
  { replaceLink = false } = {},
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const file = await whenDurable(beginTarget(path, replaceLink ? path : linkTarget(path), data, mode));
  try {
    file.commit();
  } catch (error) {
    file.discard();
    throw error;
  }
  await syncFolder(file.folder);
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The file does not exist.
  }
}
