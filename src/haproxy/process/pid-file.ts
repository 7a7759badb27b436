import { readFileSync, writeFileSync } from 'node:fs';
import { OsProcess } from './os-process.js';

/**
 * A file with the pid and the start time of a process: of the HAProxy that the suite launched last (while HAProxy loads, it
 * has no socket, so the next suite can find it only through this file), and of the suite. Writes are synchronous, so the
 * file exists even if the suite is killed right after the launch.
 */
export class PidFile {
  constructor(private readonly path: string) {}

  write({ pid, started }: OsProcess): void {
    writeFileSync(this.path, `${pid} ${started ?? ''}\n`);
  }

  /** The process in the file; undefined if it does not run any more, or if there is no valid file. */
  read(): OsProcess | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch {
      return undefined;
    }
    const match = /^(?<pid>[1-9]\d*) (?<started>\d+)\n$/.exec(text)?.groups;
    const recorded = match && new OsProcess(Number(match['pid']), match['started']);
    return recorded?.alive ? recorded : undefined;
  }
}
