import { readFileSync, writeFileSync } from 'node:fs';
import { runFiles } from '../../settings/run-files.js';
import { OsProcess } from './os-process.js';

/**
 * Masters that a new master has replaced (`-sf`), and that may still finish their connections. Nothing can ask them: the
 * new master has taken over their sockets. A file in the run folder, so that the next suite knows them too.
 */
export class FormerMasters {
  readonly #path: string;

  constructor(runFolder: string) {
    this.#path = runFiles(runFolder).former;
  }

  /** Call it before the master is replaced. */
  add(master: OsProcess): void {
    this.#write([...this.alive(), master]);
  }

  /** Call it if the master was not replaced after all. */
  remove(master: OsProcess): void {
    this.#write(this.alive().filter(({ pid }) => pid !== master.pid));
  }

  /** Those that still run. */
  alive(): OsProcess[] {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch {
      return [];
    }
    return [...text.matchAll(/^([1-9]\d*) (\d+)$/gm)]
      .map(([, pid, started]) => new OsProcess(Number(pid), started))
      .filter(({ alive }) => alive);
  }

  #write(masters: readonly OsProcess[]): void {
    writeFileSync(this.#path, masters.map(({ pid, started }) => `${pid} ${started ?? ''}\n`).join(''));
  }
}
