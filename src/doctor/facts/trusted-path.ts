import type { Stats } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** As the kernel: a longer chain of links leads nowhere. */
const MAX_LINKS = 40;
const STICKY = 0o1000;

/**
 * Finds a file, folder or link of a path that a user other than root can replace or change, and returns the first one.
 * Undefined if there is none, so that only root decides what the path is. In a folder with the sticky bit, such as /tmp, only
 * root can replace a file of root. The search ends at a part that does not exist.
 */
export async function untrustedPart(path: string): Promise<string | undefined> {
  let rest = resolve(path).split('/').filter(Boolean);
  let folder = '/';
  for (let links = 0; links < MAX_LINKS;) {
    const [name, ...more] = rest;
    if (name === undefined) return undefined;
    rest = more;
    if (name === '.') continue;
    if (name === '..') {
      folder = dirname(folder);
      continue;
    }
    const next = join(folder, name);
    const info = await lstat(next).catch((failure: NodeJS.ErrnoException) => failure);
    if (info instanceof Error) return info.code === 'ENOENT' ? undefined : next;
    if (info.uid !== 0 || isWritable(info)) return next;
    if (!info.isSymbolicLink()) {
      folder = next;
      continue;
    }
    links += 1;
    const target = await readlink(next);
    if (target.startsWith('/')) folder = '/';
    rest = [...target.split('/').filter(Boolean), ...rest];
  }
  return path;
}

/** Whether the group or others can change it. The mode of a link does not count. */
function isWritable(info: Stats): boolean {
  if (info.isSymbolicLink() || (info.mode & 0o022) === 0) return false;
  return !(info.isDirectory() && (info.mode & STICKY) !== 0);
}
