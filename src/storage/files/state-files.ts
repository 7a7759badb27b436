import { statSync, unlinkSync } from 'node:fs';
import { mkdir, readdir, readFile, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  beginFile,
  linkTarget,
  syncFolder,
  writeFileAtomic,
  type PreparedFile,
} from '../../lib/atomic-file.js';
import { allDurable, type StagedWrite } from './staged-write.js';

/** A path and the text to write there. In a list, the last file is the commit point. */
export interface FileText {
  path: string;
  text: string;
}

/** A file that does not have its expected content. */
export interface FileDifference {
  path: string;
  missing: boolean;
}

export type FileCheck = 'ok' | 'differs' | 'missing';

/** The expected content of a file. */
export interface ExpectedContent {
  /** Changes whenever the expected content changes, for example the text itself or a revision. */
  key: string | number;
  matches: (text: string) => boolean;
}

/** Expects exactly this text. */
export function exactly(text: string): ExpectedContent {
  return { key: text, matches: (other) => other === text };
}

/** A file may change twice within this time with the same modification time, because the kernel's clock is coarse. */
const MTIME_GRANULARITY_MS = 100;

/**
 * Files that are replaced together. All are written and fsynced beside their targets first, which finds a full or
 * read-only disk. Then they are renamed, which needs no space. The former texts stay in memory, to write them back if
 * a rename fails.
 */
export class StateFiles {
  readonly #current = new Map<string, string>();
  /** For each file that had its expected content: the result of stat at that time, and the key of the content. */
  readonly #verified = new Map<string, { identity: string; key: ExpectedContent['key'] }>();

  /** The text of a file; undefined if the file does not exist. */
  async read(path: string): Promise<string | undefined> {
    const text = await readIfPresent(path);
    this.#verified.delete(path);
    if (text === undefined) this.#current.delete(path);
    else this.#current.set(path, text);
    return text;
  }

  /** The text that was last read or written here; undefined if it is not known. */
  lastKnown(path: string): string | undefined {
    return this.#current.get(path);
  }

  /** Whether a file has its expected content. Reads the file only if it or that content changed since the last check. */
  async check(path: string, { key, matches }: ExpectedContent): Promise<FileCheck> {
    const now = Date.now();
    const stats = statSync(path, { throwIfNoEntry: false });
    if (!stats) return 'missing';
    const identity = [stats.dev, stats.ino, stats.size, stats.mtimeMs, stats.ctimeMs].join(' ');
    const verified = this.#verified.get(path);
    if (verified?.identity === identity && verified.key === key) return 'ok';
    const text = await readIfPresent(path);
    if (text === undefined) return 'missing';
    if (!matches(text)) return 'differs';
    if (now - stats.mtimeMs > MTIME_GRANULARITY_MS) this.#verified.set(path, { identity, key });
    return 'ok';
  }

  /** Creates the folders of the files, and deletes temporary files that a killed suite left in them. */
  async initializeFolders(given: readonly string[]): Promise<void> {
    const paths = given.map((path) => linkTarget(path));
    const names = new Set(paths.map((path) => basename(path)));
    for (const folder of foldersOf(paths)) {
      await mkdir(folder, { recursive: true });
      for (const entry of await readdir(folder)) {
        const target = /^\.(?<name>.+)\.\d+\.\d+\.tmp$/.exec(entry)?.groups?.['name'];
        if (target !== undefined && names.has(target)) await unlink(join(folder, entry));
      }
    }
  }

  /**
   * Writes the files whose text changes. Their targets change with `commit`.
   *
   * @throws the error of the file system, after the temporary files are deleted
   */
  stage(files: readonly FileText[]): StagedWrite {
    const changed = files.filter((file) => this.#current.get(file.path) !== file.text);
    const temporary: PreparedFile[] = [];
    try {
      for (const file of changed) temporary.push(beginFile(file.path, file.text));
    } catch (error) {
      for (const file of temporary) file.discard();
      throw error;
    }
    return new StagedFiles(changed, temporary, this.#current);
  }
}

class StagedFiles implements StagedWrite {
  readonly durable: Promise<void>;

  constructor(
    private readonly files: readonly FileText[],
    private readonly temporary: readonly PreparedFile[],
    private readonly current: Map<string, string>,
  ) {
    this.durable = allDurable(temporary);
  }

  /** Renames in order, then fsyncs the folders. */
  async commit(): Promise<void> {
    let renamed = 0;
    try {
      for (const file of this.temporary) {
        file.commit();
        renamed += 1;
      }
      await Promise.all(
        [...new Set(this.temporary.map(({ folder }) => folder))].map((folder) => syncFolder(folder)),
      );
    } catch (error) {
      await this.#undo(renamed);
      throw error;
    }
    for (const file of this.files) this.current.set(file.path, file.text);
  }

  async discard(): Promise<void> {
    for (const file of this.temporary) file.discard();
  }

  async #undo(renamed: number): Promise<void> {
    for (const file of this.temporary.slice(renamed)) file.discard();
    for (const file of this.files.slice(0, renamed)) {
      const before = this.current.get(file.path);
      try {
        if (before === undefined) unlinkSync(linkTarget(file.path));
        else await writeFileAtomic(file.path, before);
      } catch {
        // The file still has the text of the failed commit, so the former text is not its content any more.
        this.current.delete(file.path);
      }
    }
  }
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function foldersOf(paths: readonly string[]): string[] {
  return [...new Set(paths.map((path) => dirname(path)))];
}
