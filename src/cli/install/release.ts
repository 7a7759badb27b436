import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { releaseFolder } from './places.js';

/** The program that an installation copies: the package that this process runs from. */
export interface Release {
  /** The version and a digest of all files: `0.2.0-3f2a9c1b`. */
  id: string;
  version: string;
  /** The folder of the package. */
  source: string;
  /** Where it is on the host. */
  folder: string;
  files: readonly ReleaseFile[];
}

export interface ReleaseFile {
  /** Relative to the folder. */
  path: string;
  sha256: string;
  mode: number;
}

const MAIN = 'dist/main.js';

/** The main file of a release on the host. */
export const mainOf = (id: string): string => `${releaseFolder(id)}/${MAIN}`;

/** The folder of the package that this process runs from. */
export function ownPackage(): string {
  return dirname(dirname(realpathSync(process.argv[1] ?? '')));
}

/** Reads what `files` of package.json names. @throws Error if the folder is not a built package */
export function readRelease(source: string): Release {
  const { name, version, files } = readPackage(source);
  if (name !== 'haproxy-suite' || !isFile(join(source, MAIN)))
    throw new Error(
      `${source} is not a built package of haproxy-suite. Run this command from an unpacked package.`,
    );
  const paths = ['package.json', ...files].flatMap((entry) => walk(source, entry.replace(/\/+$/, '')));
  const read = [...new Set(paths)].toSorted().map((path) => ({
    path,
    sha256: sha256Of(readFileSync(join(source, path))),
    mode: path === MAIN ? 0o755 : 0o644,
  }));
  const digest = sha256Of(read.map(({ path, sha256 }) => `${path} ${sha256}\n`).join('')).slice(0, 8);
  const id = `${version}-${digest}`;
  return { id, version, source, folder: releaseFolder(id), files: read };
}

export function sha256Of(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function readPackage(source: string): { name: string; version: string; files: string[] } {
  try {
    return JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as {
      name: string;
      version: string;
      files: string[];
    };
  } catch (error) {
    throw new Error(`${join(source, 'package.json')} cannot be read.`, { cause: error });
  }
}

function walk(source: string, path: string): string[] {
  const stats = statSync(join(source, path), { throwIfNoEntry: false });
  if (stats?.isFile() === true) return [path];
  if (stats?.isDirectory() !== true) return [];
  return readdirSync(join(source, path)).flatMap((name) => walk(source, `${path}/${name}`));
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
