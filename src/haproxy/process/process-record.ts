import { readFileSync, writeFileSync } from 'node:fs';
import { OsProcess } from './os-process.js';

/**
 * Which HAProxy the suite launched last, in a file: a HAProxy that is still loading has no socket to be found by.
 * Written synchronously, so that no kill falls between the launch and the record of it.
 */
export class ProcessRecord {
  constructor(private readonly path: string) {}

  write({ pid, started }: OsProcess): void {
    writeFileSync(this.path, `${pid} ${started ?? ''}\n`);
  }

  /** The process, if it is there still. */
  read(): OsProcess | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch {
      return undefined;
    }
    const match = /^(?<pid>[1-9]\d*) (?<started>\d+)\n$/.exec(text)?.groups;
    const found = match && new OsProcess(Number(match['pid']), match['started']);
    return found?.alive ? found : undefined;
  }
}
