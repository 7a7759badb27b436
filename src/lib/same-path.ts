import { realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, normalize, resolve } from 'node:path';

/**
 * Whether two paths lead to the same file or folder. Symbolic links, `//`, `.` and a slash at the end make no
 * difference. `named` may be relative to a folder that is not known, as paths in haproxy.cfg can be (`default-path`,
 * `crt-base`); it then matches if `path` ends with it.
 *
 * @param path an absolute path
 */
export function isSamePath(named: string, path: string): boolean {
  if (named === path) return true;
  if (isAbsolute(named)) return realPathOf(named) === realPathOf(path);
  const end = normalize(named)
    .replace(/\/$/, '')
    .replace(/^(?:\.\.\/)+/, '');
  if (end === '' || end === '.' || end === '..') return false;
  return resolve(path).endsWith(`/${end}`) || realPathOf(path).endsWith(`/${end}`);
}

/** The path without symbolic links. The last parts of the path need not exist. */
function realPathOf(path: string): string {
  const absolute = resolve(path);
  const parent = dirname(absolute);
  try {
    return realpathSync.native(absolute);
  } catch {
    return parent === absolute ? absolute : join(realPathOf(parent), basename(absolute));
  }
}
