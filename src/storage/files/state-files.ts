import { statSync, unlinkSync } from 'node:fs';
import { mkdir, readdir, readFile, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { beginFile, syncFolder, writeFileAtomic, type PreparedFile } from '../../lib/atomic-file.js';
import { allDurable, type Prepared } from './prepared.js';

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

export type FileCheck = 'ok' | 'differs' | 'missing';

/** What a file should hold: its text, or something else that changes whenever that does. */
export interface Wanted {
  is: string | number;
  holds: (text: string) => boolean;
}

/** A file that should hold just this text. */
export function exactly(text: string): Wanted {
  return { is: text, holds: (other) => other === text };
}

/** File times are as coarse as the kernel's clock: a file changed this short a time ago may change again unseen. */
const COARSE_MS = 100;

/**
 * Several files that change together. First all are written and fsynced beside their targets, which is where a full
 * or read-only disk shows; only then are they renamed, which needs no space. What was in a file before is kept in
 * memory, for the rare rename that fails half-way.
 */
export class StateFiles {
  readonly #current = new Map<string, string>();
  /** What the file system said of a file when it was found to hold what it should, and what that was. */
  readonly #verified = new Map<string, { identity: string; wanted: Wanted['is'] }>();

  /** What a file holds now; undefined where it does not exist. */
  async read(path: string): Promise<string | undefined> {
    const text = await textOf(path);
    this.#verified.delete(path);
    if (text === undefined) this.#current.delete(path);
    else this.#current.set(path, text);
    return text;
  }

  /** What a file held when it was last read or written here; undefined where that is not known. */
  held(path: string): string | undefined {
    return this.#current.get(path);
  }

  /** Whether a file holds what it should. It is read only if it was touched, or should hold something else, since. */
  async check(path: string, { is, holds }: Wanted): Promise<FileCheck> {
    const now = Date.now();
    const facts = statSync(path, { throwIfNoEntry: false });
    if (!facts) return 'missing';
    const identity = [facts.dev, facts.ino, facts.size, facts.mtimeMs, facts.ctimeMs].join(' ');
    const verified = this.#verified.get(path);
    if (verified?.identity === identity && verified.wanted === is) return 'ok';
    const text = await textOf(path);
    if (text === undefined) return 'missing';
    if (!holds(text)) return 'differs';
    if (now - facts.mtimeMs > COARSE_MS) this.#verified.set(path, { identity, wanted: is });
    return 'ok';
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

  /**
   * Writes those files whose text differs from what they hold. Nothing is in place until `commit`.
   *
   * @throws the error of the file system; then nothing is left of it
   */
  prepare(files: readonly FileText[]): Prepared {
    const changed = files.filter((file) => this.#current.get(file.path) !== file.text);
    const begun: PreparedFile[] = [];
    try {
      for (const file of changed) begun.push(beginFile(file.path, file.text));
    } catch (error) {
      for (const file of begun) file.discard();
      throw error;
    }
    return new PreparedFiles(changed, begun, this.#current);
  }
}

class PreparedFiles implements Prepared {
  readonly durable: Promise<void>;

  constructor(
    private readonly files: readonly FileText[],
    private readonly prepared: readonly PreparedFile[],
    private readonly current: Map<string, string>,
  ) {
    this.durable = allDurable(prepared);
  }

  /** Renames in order, then makes the folders durable. After a failure the files are as before. */
  async commit(): Promise<void> {
    let renamed = 0;
    try {
      for (const file of this.prepared) {
        file.commit();
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
    for (const file of this.prepared) file.discard();
  }

  async #undo(renamed: number): Promise<void> {
    for (const file of this.prepared.slice(renamed)) file.discard();
    for (const file of this.files.slice(0, renamed)) {
      const before = this.current.get(file.path);
      try {
        if (before === undefined) unlinkSync(file.path);
        else await writeFileAtomic(file.path, before);
      } catch {
        // It holds what was refused: no later commit may take it for what it held before.
        this.current.delete(file.path);
      }
    }
  }
}

async function textOf(path: string): Promise<string | undefined> {
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
