import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a build reads. */
const INPUTS = [
  'src',
  'scripts',
  'nest-cli.json',
  'package.json',
  'package-lock.json',
  'node_modules/.package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
];
/** What it writes and users run. */
const OUTPUTS = ['dist'];
/** `nest build` deletes this folder, so a build by other means removes the stamp. */
const STAMP = 'build/stamp';

/**
 * Knows whether dist/ is the build of the present sources. It compares contents and not times, because a checkout of
 * another branch sets new times.
 */
export class BuildStamp {
  #inputs;

  /** Reads the sources. A source that changes during the build makes the next build run. */
  constructor(root) {
    this.root = root;
    this.#inputs = hashOf(root, INPUTS);
  }

  isCurrent() {
    const file = join(this.root, STAMP);
    return existsSync(file) && readFileSync(file, 'utf8') === this.#text();
  }

  /** To be called after a complete build. */
  write() {
    writeFileSync(join(this.root, STAMP), this.#text());
  }

  #text() {
    return `${this.#inputs}\n${hashOf(this.root, OUTPUTS)}\n`;
  }
}

function hashOf(root, paths) {
  const hash = createHash('sha256');
  for (const path of paths) addFiles(hash, root, path);
  return hash.digest('hex');
}

function addFiles(hash, root, path) {
  let entries;
  try {
    entries = readdirSync(join(root, path), { withFileTypes: true });
  } catch (error) {
    if (error.code !== 'ENOTDIR' && error.code !== 'ENOENT') throw error;
    const content = error.code === 'ENOENT' ? 'missing' : readFileSync(join(root, path));
    hash.update(`${path}\0${content.length}\0`).update(content);
    return;
  }
  const names = entries.map(({ name }) => name).filter((name) => name !== 'node_modules');
  hash.update(`${path}/\0${names.length}\0`);
  for (const name of names.toSorted()) addFiles(hash, root, `${path}/${name}`);
}
