import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** As the kernel, which then fails with ELOOP. */
const MOST_LINKS = 40;

/**
 * Returns where a file of an image is on this machine. `root` is the folder of the image, or `/` for this machine. Symbolic
 * links are resolved inside the image, also absolute links and `..`. A link with the last name of the path is not followed,
 * so that the caller can replace or remove it.
 *
 * @throws Error if the links lead in a circle
 */
export function placeIn(root: string, path: string): string {
  return find(root, path, false);
}

/** The same, and a link with the last name is followed too: for reading. @throws Error if the links lead in a circle */
export function targetIn(root: string, path: string): string {
  return find(root, path, true);
}

function find(root: string, path: string, followsLast: boolean): string {
  if (root === '/') return path;
  const left = namesOf(path);
  let found: string[] = [];
  let links = 0;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === '..') {
      found.pop();
      continue;
    }
    const target = left.length > 0 || followsLast ? linkTarget(join(root, ...found, name)) : undefined;
    if (target === undefined) {
      found.push(name);
      continue;
    }
    links += 1;
    if (links > MOST_LINKS)
      throw new Error(`The links of ${path} in ${root} lead in a circle. Correct them in the image.`);
    if (target.startsWith('/')) found = [];
    left.unshift(...namesOf(target));
  }
  return join(root, ...found);
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function linkTarget(path: string): string | undefined {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return isLink ? readlinkSync(path) : undefined;
}
