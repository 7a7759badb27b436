import { mkdir, readdir, readFile, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { prepareFile, syncFolder, writeFileAtomic, type PreparedFile } from '../common/atomic-file.js';
import type { Prepared } from './prepared.js';

/** A text for a path. Order matters: the last one of a set is the commit point. */
export interface FileText {
  path: string;
  text: string;
}

/** A file that does not hold what it should. */
export interface FileDifference {
  path: string;
  missing: boolean;
}

/**
 * Several files that change together. First all are written and fsynced beside their targets, which is where a full
 * or read-only disk shows; only then are they renamed, which needs no space. What was in a file before is kept in
 * memory, for the rare rename that fails half-way.
 */
export class StateFiles {
  readonly #current = new Map<string, string>();

  /** What a file held when it was last read or written here; undefined where it does not exist. */
  async read(path: string): Promise<string | undefined> {
    try {
      const text = await readFile(path, 'utf8');
      this.#current.set(path, text);
      return text;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.#current.delete(path);
      return undefined;
    }
  }

  /** What a file held when it was last read or written here; empty where that is not known. */
  held(path: string): string {
    return this.#current.get(path) ?? '';
  }

  /** Those of the files that hold something else on disk. Only a look: what `prepare` compares with stays. */
  async differences(files: readonly FileText[]): Promise<FileDifference[]> {
    const different: FileDifference[] = [];
    for (const { path, text } of files) {
      const found = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (found !== text) different.push({ path, missing: found === undefined });
    }
    return different;
  }

  /** Makes the folders and removes temporary files that a killed suite left in them. */
  async prepareFolders(paths: readonly string[]): Promise<void> {
    const names = new Set(paths.map((path) => basename(path)));
    for (const folder of foldersOf(paths)) {
      await mkdir(folder, { recursive: true });
      for (const entry of await readdir(folder)) {
        const target = /^\.(?<name>.+)\.\d+\.\d+\.tmp$/.exec(entry)?.groups?.['name'];
        if (target !== undefined && names.has(target)) await unlink(join(folder, entry));
      }
    }
  }

  /** Writes those files whose text differs from what they hold. Nothing is in place until `commit`. */
  async prepare(files: readonly FileText[]): Promise<PreparedFiles> {
    const changed = files.filter((file) => this.#current.get(file.path) !== file.text);
    const results = await Promise.allSettled(changed.map((file) => prepareFile(file.path, file.text)));
    const prepared = results.filter((result) => result.status === 'fulfilled').map((result) => result.value);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) {
      await Promise.all(prepared.map((file) => file.discard()));
      throw failed.reason;
    }
    return new PreparedFiles(changed, prepared, this.#current);
  }
}

class PreparedFiles implements Prepared {
  constructor(
    private readonly files: readonly FileText[],
    private readonly prepared: readonly PreparedFile[],
    private readonly current: Map<string, string>,
  ) {}

  /** Renames in order, then makes the folders durable. After a failure the files are as before. */
  async commit(): Promise<void> {
    let renamed = 0;
    try {
      for (const file of this.prepared) {
        await file.commit();
        renamed += 1;
      }
      await Promise.all(foldersOf(this.files.map((file) => file.path)).map((folder) => syncFolder(folder)));
    } catch (error) {
      await this.#undo(renamed);
      throw error;
    }
    for (const file of this.files) this.current.set(file.path, file.text);
  }

  async discard(): Promise<void> {
    await Promise.all(this.prepared.map((file) => file.discard()));
  }

  async #undo(renamed: number): Promise<void> {
    await Promise.all(this.prepared.slice(renamed).map((file) => file.discard()));
    for (const file of this.files.slice(0, renamed)) {
      const before = this.current.get(file.path);
      try {
        await (before === undefined ? unlink(file.path) : writeFileAtomic(file.path, before));
      } catch {
        // It holds what was refused: no later commit may take it for what it held before.
        this.current.delete(file.path);
      }
    }
  }
}

function foldersOf(paths: readonly string[]): string[] {
  return [...new Set(paths.map((path) => dirname(path)))];
}
