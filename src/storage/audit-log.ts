import { readFile } from 'node:fs/promises';
import { Injectable, Logger } from '@nestjs/common';
import pLimit from 'p-limit';
import { callContext, type CallContext } from '../contract/call-context.js';
import { messageOf, type ErrorCode } from '../errors/app-error.js';
import { Settings } from '../settings/settings.js';
import { AuditFile } from './audit-file.js';
import type { Prepared } from './files/prepared.js';
import { asStorageError } from '../errors/storage-error.js';

/** One change that was asked for, and what became of it. */
export interface AuditEntry {
  /** RFC 3339, UTC. */
  time: string;
  /** Token name, or network and address. */
  actor: string;
  via: CallContext['via'];
  /** The name of the operation, which is the tool's. */
  operation: string;
  /** Without secrets. */
  arguments: Record<string, unknown>;
  revision_before: number;
  revision_after: number;
  outcome: 'ok' | ErrorCode;
}

/** As it stands in the file. `seq` grows by one from line to line, across files. */
export interface AuditLine extends AuditEntry {
  seq: number;
}

export interface AuditPage {
  lines: AuditLine[];
  total: number;
}

/** Lines kept in memory for a disk that cannot take them; from the first on, every further change is refused. */
const UNSAVED_KEPT = 1000;

/**
 * `data/audit.jsonl`: who changed what. The lines of a commit are written and fsynced beside its files, before
 * anything is changed, and taken back if it fails (docs/adr/0005-audit-lines-ahead.md).
 */
@Injectable()
export class AuditLog {
  readonly #logger = new Logger('Audit');
  readonly #queue = pLimit(1);
  readonly #file: AuditFile;
  readonly #home: string;
  /** The last line that counts; those of a commit under way come after it. */
  #last = 0;
  #waiting: AuditEntry[] = [];
  #flush: Promise<void> | undefined;
  #unsaved: AuditEntry[] = [];

  constructor({ files, home, auditLimits }: Settings) {
    this.#file = new AuditFile(files.audit, auditLimits);
    this.#home = home;
  }

  /**
   * Finds the end of the log. Where its last revision is not that of the state (the suite was killed between line and
   * commit, or somebody put another `servers.json` in place), a line of its own says so.
   *
   * @throws AppError storage_failed
   */
  async open(revision: number): Promise<void> {
    try {
      await this.#file.open();
      const [last] = await this.#newest(1, Number.POSITIVE_INFINITY);
      this.#last = last?.seq ?? 0;
      const known = last?.revision_after ?? 0;
      if (known !== revision) await this.append(entryOf(callContext(), 'start', known, revision, 'ok'));
    } catch (error) {
      throw asStorageError(error, this.#home);
    }
  }

  /**
   * The lines of changes that are about to be committed together: one write, one fsync. Other lines wait until it is
   * known whether these count, so `commit` or `discard` must be called soon.
   *
   * @throws the error of the file system; then nothing was written
   */
  prepare(entries: readonly AuditEntry[]): Promise<Prepared> {
    return new Promise((resolve, reject) => {
      const turn = this.#queue(async () => {
        await this.#saveUnsaved();
        const { size, durable } = await this.#file.begin(this.#textOf(entries));
        await new Promise<void>((settled) => {
          resolve({
            durable,
            commit: async () => {
              this.#last += entries.length;
              settled();
            },
            discard: async () => {
              await this.#file.cutTo(size).catch((error: unknown) => {
                this.#logger.error(
                  `${this.#file.path}: the last ${entries.length} line(s) were not taken back: ${messageOf(error)}`,
                );
                this.#last += entries.length;
              });
              settled();
            },
          });
        });
      });
      turn.catch(reject);
    });
  }

  /**
   * A line for what needs no commit, or failed. Lines that wait together share one fsync. A line that cannot be
   * written is kept, and `checkWritable` refuses every further change until it is.
   */
  async append(entry: AuditEntry): Promise<void> {
    this.#waiting.push(entry);
    this.#flush ??= this.#queue(async () => {
      this.#flush = undefined;
      this.#unsaved.push(...this.#waiting.splice(0));
      await this.#saveUnsaved().catch((error: unknown) => {
        const lost = this.#unsaved.splice(UNSAVED_KEPT).length;
        this.#logger.error(
          `${this.#file.path} cannot be written; changes are refused until it can, and ${this.#unsaved.length} ` +
            `line(s) wait (${lost} lost): ${messageOf(error)}`,
        );
      });
    });
    return this.#flush;
  }

  /** @throws AppError storage_failed while earlier lines cannot be written */
  async checkWritable(): Promise<void> {
    if (this.#unsaved.length === 0) return;
    await this.#queue(() => this.#saveUnsaved()).catch((error: unknown) => {
      throw asStorageError(error, this.#home);
    });
  }

  /** Up to `limit` lines older than `before`, newest first. */
  async page(limit: number, before = Number.POSITIVE_INFINITY): Promise<AuditPage> {
    const lines = await this.#newest(limit, Math.min(before, this.#last + 1));
    let oldest = this.#last + 1;
    for await (const path of this.#file.files())
      oldest = parseLine(await this.#file.firstLine(path))?.seq ?? oldest;
    return { lines, total: Math.max(0, this.#last + 1 - oldest) };
  }

  async #newest(limit: number, before: number): Promise<AuditLine[]> {
    const found: AuditLine[] = [];
    for await (const path of this.#file.files()) {
      const first = parseLine(await this.#file.firstLine(path))?.seq ?? 0;
      if (first >= before) continue;
      const lines = (await readFile(path, 'utf8')).split('\n');
      while (lines.length > 0 && found.length < limit) {
        const line = parseLine(lines.pop() ?? '');
        if (line && line.seq < before) found.push(line);
      }
      if (found.length === limit) break;
    }
    return found;
  }

  async #saveUnsaved(): Promise<void> {
    const entries = [...this.#unsaved];
    if (entries.length === 0) return;
    await this.#file.append(this.#textOf(entries));
    this.#last += entries.length;
    this.#unsaved = this.#unsaved.slice(entries.length);
  }

  #textOf(entries: readonly AuditEntry[]): string {
    return entries
      .map((entry, index) => `${JSON.stringify({ seq: this.#last + 1 + index, ...entry })}\n`)
      .join('');
  }
}

/** The line of one change by whoever `caller` is. */
export function entryOf(
  caller: CallContext,
  operation: string,
  before: number,
  after: number,
  outcome: AuditEntry['outcome'],
): AuditEntry {
  return {
    time: new Date().toISOString(),
    actor: caller.actor,
    via: caller.via,
    operation,
    arguments: caller.audited?.arguments ?? {},
    revision_before: before,
    revision_after: after,
    outcome,
  };
}

/** Undefined for what is not a line of the log: somebody may have edited the file. */
function parseLine(text: string): AuditLine | undefined {
  try {
    const line = JSON.parse(text) as AuditLine;
    return Number.isSafeInteger(line.seq) ? line : undefined;
  } catch {
    return undefined;
  }
}
