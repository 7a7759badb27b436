import { renameSync, statSync, unlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { writeFileAtomic } from '../lib/atomic-file.js';
import type { State } from '../model/state.js';
import { LineFile, numberedActiveLines } from './files/line-file.js';
import { type StagedWrite, UnexpectedContentError } from './files/staged-write.js';
import type { FileCheck } from './files/state-files.js';
import { InvalidDocumentError } from './formats/json-document.js';
import {
  includesRecords,
  type JournalBase,
  type JournalRecord,
  parseBase,
  parseRecord,
  renderBase,
  renderRecord,
  replay,
} from './formats/journal-record.js';
import { StateFileError } from './formats/servers-json.js';

/**
 * `servers.json.journal`: the commits since `servers.json` was written, one on each line. The first line names the
 * `servers.json` that the records are applied to (docs/adr/0007-journal-for-large-states.md).
 */
export class StateJournal {
  readonly #logger = new Logger('Persistence');
  readonly #lines: LineFile;
  #recordCount = 0;
  #isOpen = false;
  /** False only when it is known that there is no file. */
  #mayExist = true;
  /** Identity and size of the file after the last write. */
  #fingerprint = '';

  constructor(readonly path: string) {
    this.#lines = new LineFile(path);
  }

  /** Whether commits can be appended: the journal was started, or read at the start of the suite. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Commits in the journal that `servers.json` does not have. */
  get recordCount(): number {
    return this.#recordCount;
  }

  /**
   * Applies the records to the state that was read from `servers.json`.
   *
   * @throws StateFileError if the journal belongs to another `servers.json`, or cannot be read
   */
  async replayInto(state: State, base: JournalBase): Promise<void> {
    const parsed = parseJournal(await this.#readText(), this.path);
    if (parsed === undefined) return;
    this.#isOpen = true;
    this.#fingerprint = this.#readFingerprint();
    const { base: own, baseLine, recordLines, records } = parsed;
    const last = records.at(-1)?.to;
    if (last === undefined) {
      // A journal without records can be ignored beside any servers.json, because no commit is lost.
      if (own.revision > state.revision)
        this.#logger.warn(
          `servers.json has revision ${state.revision}, and had revision ${own.revision} when ${this.path} was started: an ` +
            'older servers.json was put in its place. The suite starts with it.',
        );
      return;
    }
    if (last <= state.revision) {
      // A suite that is killed after it wrote servers.json, and before it deleted the journal, leaves such a journal.
      if (!includesRecords(state, records)) this.#setAside(own.revision, last, state.revision);
      return;
    }
    if (own.sha256 !== base.sha256)
      throw new StateFileError(
        this.path,
        baseLine,
        `the journal has the changes from revision ${own.revision} to ${last}, but they belong to another servers.json than ` +
          `the present one (revision ${base.revision}). Restore that servers.json to keep the changes, or delete this file ` +
          'to start without them',
      );
    for (const [index, record] of records.entries())
      atLine(this.path, recordLines[index] ?? baseLine, () => {
        if (record.from !== state.revision)
          throw new InvalidDocumentError(
            [],
            `the record continues revision ${record.from}, but the state has revision ${state.revision}`,
          );
        replay(record, state);
      });
    this.#recordCount = records.length;
  }

  /** Renames the journal. The suite uses `servers.json`, but the operator may want to see the commits. */
  #setAside(from: number, last: number, revision: number): void {
    const kept = `${this.path}.set-aside-${last}`;
    try {
      renameSync(this.path, kept);
    } catch (error) {
      throw new StateFileError(
        this.path,
        1,
        `the journal could not be renamed to ${kept}: ${messageOf(error)}`,
      );
    }
    this.#isOpen = false;
    this.#logger.warn(
      `${this.path} has the commits from revision ${from} to ${last}, but servers.json (revision ${revision}) does not have ` +
        'all of them: another program wrote it, or a later change undid them. The suite starts with servers.json ' +
        `and keeps the commits in ${kept}.`,
    );
  }

  /** Call it if there is no `servers.json`. @throws StateFileError if the journal has commits, which would be lost */
  async requireNoRecords(): Promise<void> {
    const records = numberedActiveLines(await this.#readText()).slice(1);
    if (records.length === 0) return;
    throw new StateFileError(
      this.path,
      1,
      `the journal has ${records.length} commit(s), but the servers.json that they belong to is gone. Restore that ` +
        'servers.json to keep them, or delete this file to start with what HAProxy has',
    );
  }

  /** Whether the file is as this object last wrote it. */
  check(): FileCheck {
    const fingerprint = this.#readFingerprint();
    if (fingerprint === '') return 'missing';
    return fingerprint === this.#fingerprint ? 'ok' : 'differs';
  }

  /** Replaces the file with a journal without records. */
  async start(base: JournalBase): Promise<void> {
    this.#mayExist = true;
    await writeFileAtomic(this.path, `${renderBase(base)}\n`);
    this.#isOpen = true;
    this.#recordCount = 0;
    this.#fingerprint = this.#readFingerprint();
  }

  /** @throws UnexpectedContentError if the file was modified; the errors of LineFile.stageLines */
  stageRecord(record: JournalRecord): StagedWrite {
    if (this.check() !== 'ok') throw new UnexpectedContentError(`${this.path} was modified`);
    const staged = this.#lines.stageLines([renderRecord(record)]);
    return {
      durable: staged.durable,
      commit: async () => {
        await staged.commit();
        this.#recordCount += 1;
        this.#fingerprint = this.#readFingerprint();
      },
      discard: async () => {
        await staged.discard();
        this.#fingerprint = this.#readFingerprint();
      },
    };
  }

  /** Deletes the file, after `servers.json` got all commits. A file that remains does no harm, because it is older. */
  remove(): void {
    this.#isOpen = false;
    this.#recordCount = 0;
    if (!this.#mayExist) return;
    this.#mayExist = false;
    try {
      unlinkSync(this.path);
    } catch {
      // The file does not exist, or the next `start` replaces it.
    }
  }

  #readText(): Promise<string> {
    return readFile(this.path, 'utf8').catch(emptyIfMissing);
  }

  #readFingerprint(): string {
    const stats = statSync(this.path, { throwIfNoEntry: false });
    return stats ? [stats.dev, stats.ino, stats.size].join(' ') : '';
  }
}

interface ParsedJournal {
  base: JournalBase;
  records: readonly JournalRecord[];
  /** The numbers of the lines, from 1. */
  baseLine: number;
  recordLines: readonly number[];
}

/** Undefined if the journal has no line. Pure. @throws StateFileError with file, line and reason */
export function parseJournal(text: string, path: string): ParsedJournal | undefined {
  const [first, ...rest] = numberedActiveLines(text);
  if (first === undefined) return undefined;
  return {
    base: atLine(path, first.number, () => parseBase(first.line)),
    records: rest.map(({ number, line }) => atLine(path, number, () => parseRecord(line))),
    baseLine: first.number,
    recordLines: rest.map(({ number }) => number),
  };
}

function atLine<T>(path: string, line: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof InvalidDocumentError) throw new StateFileError(path, line, error.message);
    throw error;
  }
}

function emptyIfMissing(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return '';
  throw error;
}
