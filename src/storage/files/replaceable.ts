import { accessSync, constants, existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { linkTarget } from '../../lib/atomic-file.js';

/** The mounts of this process (proc_pid_mountinfo(5)). The fifth field of a line is where it is mounted. */
const MOUNTS = '/proc/self/mountinfo';

/** A file that the suite could not replace at its first change. */
export class NotReplaceableError extends Error {
  constructor(reason: string) {
    super(`${reason} The suite replaces this file with each change.`);
    this.name = 'NotReplaceableError';
  }
}

/**
 * Checks at the start of the suite that each file can be replaced by a rename, so that the first change does not fail. A
 * file that does not exist is accepted if its folder exists or can be created.
 *
 * @throws NotReplaceableError with the reason and what to do; an error with the code ELOOP
 */
export function requireReplaceable(paths: readonly string[]): void {
  const mounts = mountPoints();
  for (const path of paths) {
    const target = linkTarget(path);
    const name = target === path ? path : `${path} (a symbolic link to ${target})`;
    const folder = dirname(target);
    if (target !== path && !existsSync(folder))
      throw new NotReplaceableError(
        `${name} leads to a folder that does not exist. Create or mount ${folder}, or remove the link.`,
      );
    if (existsSync(target) && mounts.has(realpathSync(target)))
      throw new NotReplaceableError(
        `${name} is a mounted file, and Linux does not replace a mounted file. Mount the folder ${folder} instead.`,
      );
    requireWritable(name, folder);
  }
}

/**
 * Refuses a symbolic link to a missing file if `evidence`, a file of an earlier start, exists: the disk of the target is
 * probably not mounted, and a start would begin with another state.
 *
 * @throws NotReplaceableError
 */
export function requireTarget(path: string, evidence: string): void {
  const target = linkTarget(path);
  if (target === path || existsSync(target) || !existsSync(evidence)) return;
  throw new NotReplaceableError(
    `${path} is a symbolic link to ${target}, which does not exist, but ${evidence} is from an earlier start. Mount the ` +
      'disk of the file or restore it. To begin with what HAProxy has, remove the link.',
  );
}

/**
 * Refuses a file with content that `user`, a file of the suite, does not name: the suite did not write it, and a rule of
 * the operator may read it. `isKnown` says whether another file shows that the suite wrote it: `user` may be lost.
 *
 * @throws NotReplaceableError
 */
export function requireOwn(paths: readonly string[], user: string, isKnown: () => boolean): void {
  const others = paths.filter((path) => existsSync(path) && readFileSync(path, 'utf8').trim() !== '');
  if (others.length === 0) return;
  const text = existsSync(user) ? readFileSync(user, 'utf8') : '';
  const foreign = others.find((path) => !text.includes(path));
  if (foreign !== undefined && !isKnown())
    throw new NotReplaceableError(
      `${foreign} is not from the suite, which needs this name for the options of sites. Rename the file, and change ` +
        'haproxy.cfg if it reads the file.',
    );
}

/** @throws NotReplaceableError */
function requireWritable(name: string, folder: string): void {
  try {
    accessSync(folder, constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EROFS')
      throw new NotReplaceableError(
        `${name} is on a read-only file system. Mount the folder ${folder} without ro.`,
      );
    if (code === 'EACCES')
      throw new NotReplaceableError(
        `The user of the suite may not write into ${folder}, the folder of ${name}. Give it write permission.`,
      );
  }
}

/** Empty if the kernel does not tell. */
function mountPoints(): Set<string> {
  try {
    const lines = readFileSync(MOUNTS, 'utf8').split('\n');
    return new Set(lines.map((line) => unescaped(line.split(' ')[4] ?? '')));
  } catch {
    return new Set();
  }
}

/** The kernel writes a space as `\040`. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
