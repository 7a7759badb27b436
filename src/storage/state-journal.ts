import { renameSync, statSync, unlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Logger } from '@nestjs/common';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { messageOf } from '../errors/app-error.js';
import { UnexpectedContentError } from './files/in-place.js';
import { MarkedLines, numberedLinesThatCount } from './files/marked-lines.js';
import type { Prepared } from './files/prepared.js';
import type { FileCheck } from './files/state-files.js';
import { Broken, StateFileError } from './formats/servers-json.js';
import {
  hasAlready,
  type JournalBase,
  readBase,
  readRecord,
  renderBase,
  renderRecord,
  replay,
  type StateRecord,
} from './formats/journal-record.js';
import type { State } from '../model/state.js';

/**
 * `servers.json.journal`: what was committed since `servers.json` was written, a commit a line. Its first line says
 * which `servers.json` it goes on from; without that one it is worth nothing, and with it nothing is lost.
 */
export class StateJournal {
  readonly #logger = new Logger('Persistence');
  readonly #lines: MarkedLines;
  #records = 0;
  #begun = false;
  /** There may be a file, of this journal or of a former one. */
  #mayExist = true;
  /** Which file it is, and how long: as it was left. */
  #left = '';

  constructor(readonly path: string) {
    this.#lines = new MarkedLines(path);
  }

  /** Whether there is one that counts. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Commits in it. */
  get records(): number {
    return this.#records;
  }

  /**
   * Brings the state read from `servers.json` up to date.
   *
   * @throws StateFileError where the journal goes on from another `servers.json`, or cannot be read
   */
  async replayOnto(state: State, base: JournalBase): Promise<void> {
    const [first, ...rest] = await this.#read();
    if (first === undefined) return;
    this.#begun = true;
    this.#left = this.#facts();
    const own = this.#at(first.number, () => readBase(JSON.parse(first.line)));
    const records = rest.map(({ number, line }) => this.#at(number, () => readRecord(JSON.parse(line))));
    const last = records.at(-1)?.to;
    if (last === undefined) {
      // One that was only begun has nothing to lose, whatever servers.json was put beside it.
      if (own.revision > state.revision)
        this.#logger.warn(
          `servers.json is of revision ${state.revision}, and was of ${own.revision} when ${this.path} was begun: somebody put ` +
            'an older one there. It counts.',
        );
      return;
    }
    if (last <= state.revision) {
      // One that has it all is what a kill leaves after `servers.json` was written and before this was taken away.
      if (!hasAlready(state, records)) this.#setAside(own.revision, last, state.revision);
      return;
    }
    if (own.sha256 !== base.sha256)
      throw new StateFileError(
        this.path,
        first.number,
        `it has the changes from revision ${own.revision} to ${last}, made to another servers.json than the one that is ` +
          `there (revision ${base.revision}). Put that one back to keep them, or delete this file to go on without them`,
      );
    for (const [index, record] of records.entries())
      this.#at(rest[index]?.number ?? first.number, () => {
        if (record.from !== state.revision)
          throw new Broken([], `it continues revision ${record.from}, but here is ${state.revision}`);
        replay(record, state);
      });
    this.#records = records.length;
  }

  /** A `servers.json` that somebody put there is what counts; what it has not, they may still want to see. */
  #setAside(from: number, last: number, revision: number): void {
    const kept = `${this.path}.set-aside-${last}`;
    try {
      renameSync(this.path, kept);
    } catch (error) {
      throw new StateFileError(this.path, 1, `it could not be kept as ${kept}: ${messageOf(error)}`);
    }
    this.#begun = false;
    this.#logger.warn(
      `${this.path} has the commits from revision ${from} to ${last}, and not all of them are in the servers.json that is ` +
        `there (revision ${revision}), so that one was written by somebody else, or a change took them back. It counts; the commits are kept in ${kept}.`,
    );
  }

  /** Nothing of it may be lost for want of a `servers.json`. @throws StateFileError where it has changes */
  async refuseAlone(): Promise<void> {
    const records = (await this.#read()).slice(1);
    if (records.length === 0) return;
    throw new StateFileError(
      this.path,
      1,
      `it has ${records.length} commit(s), but the servers.json that they go on from is gone. Put that one back to keep ` +
        'them, or delete this file to begin with what HAProxy has',
    );
  }

  /** Whether nobody else has touched it. */
  check(): FileCheck {
    const facts = this.#facts();
    if (facts === '') return 'missing';
    return facts === this.#left ? 'ok' : 'differs';
  }

  /** Begins anew, with nothing in it. */
  async begin(base: JournalBase): Promise<void> {
    this.#mayExist = true;
    await writeFileAtomic(this.path, `${renderBase(base)}\n`);
    this.#begun = true;
    this.#records = 0;
    this.#left = this.#facts();
  }

  /** @throws UnexpectedContentError where somebody has touched it, and as MarkedLines.prepare */
  prepare(record: StateRecord): Prepared {
    if (this.check() !== 'ok') throw new UnexpectedContentError(`${this.path} is not as it was left`);
    const prepared = this.#lines.prepare([renderRecord(record)]);
    return {
      durable: prepared.durable,
      commit: async () => {
        await prepared.commit();
        this.#records += 1;
        this.#left = this.#facts();
      },
      discard: async () => {
        await prepared.discard();
        this.#left = this.#facts();
      },
    };
  }

  /** `servers.json` has everything. One that stays behind does no harm: what it tells is older. */
  end(): void {
    this.#begun = false;
    this.#records = 0;
    if (!this.#mayExist) return;
    this.#mayExist = false;
    try {
      unlinkSync(this.path);
    } catch {
      // It is gone, or will be written over when the next one begins.
    }
  }

  async #read(): Promise<{ number: number; line: string }[]> {
    return numberedLinesThatCount(await readFile(this.path, 'utf8').catch(emptyWhereMissing));
  }

  #facts(): string {
    const facts = statSync(this.path, { throwIfNoEntry: false });
    return facts ? [facts.dev, facts.ino, facts.size].join(' ') : '';
  }

  #at<T>(line: number, work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof Broken) throw new StateFileError(this.path, line, error.message);
      if (error instanceof SyntaxError) throw new StateFileError(this.path, line, 'not valid JSON');
      throw error;
    }
  }
}

function emptyWhereMissing(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return '';
  throw error;
}
