import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { UsageError } from '../exit-code.js';
import { readProblem, shownWord } from '../word.js';

export interface InputFile {
  /** As the user wrote it; `-` is stdin. */
  name: string;
  text: string;
}

/** The most characters of one file: as much as an import takes. */
const MAX_LENGTH = 64 * 1024 * 1024;
/** Deeper folders than this are a loop of symbolic links. */
const MAX_DEPTH = 20;
const KNOWN_NAME = /\.(?:ya?ml|json)$/i;

/**
 * The files, and the files ending in .yaml, .yml or .json of the folders and their subfolders, sorted by name. Names that
 * begin with a dot are left out.
 *
 * @throws UsageError if a file cannot be read, or a folder has no such file
 */
export async function readInputFiles(
  names: readonly string[],
  stdin: NodeJS.ReadableStream,
): Promise<InputFile[]> {
  const files: InputFile[] = [];
  for (const name of names) {
    if (name === '-') {
      if (files.some((file) => file.name === '-')) throw new UsageError('Give - (stdin) only once.');
      files.push({ name, text: await text(stdin) });
      continue;
    }
    const paths = await pathsOf(name);
    if (paths.length === 0)
      throw new UsageError(`The folder ${name} has no file that ends in .yaml, .yml or .json.`);
    for (const path of paths) files.push({ name: path, text: await readText(path) });
  }
  for (const file of files)
    if (file.text.length > MAX_LENGTH)
      throw new UsageError(
        `${file.name} is longer than ${MAX_LENGTH} characters. Give several smaller files.`,
      );
  return files;
}

async function pathsOf(name: string, depth = 0): Promise<string[]> {
  const found = await stat(name).catch((error: unknown) => {
    throw new UsageError(`${shownWord(name)} cannot be read: ${readProblem(error)}.`);
  });
  if (!found.isDirectory()) return depth === 0 || KNOWN_NAME.test(name) ? [name] : [];
  if (depth > MAX_DEPTH) throw new UsageError(`${name} is more than ${MAX_DEPTH} folders deep.`);
  const entries = (await readdir(name)).filter((entry) => !entry.startsWith('.')).toSorted();
  const paths = await Promise.all(entries.map((entry) => pathsOf(join(name, entry), depth + 1)));
  return paths.flat();
}

async function readText(path: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path));
  } catch (error) {
    throw new UsageError(`${shownWord(path)} cannot be read: ${readProblem(error)}.`);
  }
}
