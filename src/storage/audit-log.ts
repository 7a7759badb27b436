import { Injectable, Logger } from '@nestjs/common';
import pLimit from 'p-limit';
import { callContext, type CallContext } from '../contract/call-context.js';
import { messageOf, type ErrorCode } from '../errors/app-error.js';
import { asStorageError } from '../errors/storage-error.js';
import { Settings } from '../settings/settings.js';
import { LogFile } from './files/log-file.js';
import type { StagedWrite } from './files/staged-write.js';

/** A change that a caller asked for, and its outcome. */
export interface AuditEntry {
  /** RFC 3339, UTC. */
  time: string;
  /** Token name, or network and address. */
  actor: string;
  via: CallContext['via'];
  /** The id of the HTTP request. Absent for changes by the suite itself. */
  request_id?: string;
  /** The name of the operation, which is also the name of its tool. */
  operation: string;
  /** Without secrets. */
  arguments: Record<string, unknown>;
  revision_before: number;
  revision_after: number;
  outcome: 'ok' | ErrorCode;
  /** Which of the commits of the call this is, if a call makes several. */
  stage?: string;
  /** What the change removed or overwrote. Absent if it only added, or failed. */
  before?: object;
}

/** One line of the file. `seq` grows by one from line to line, across rotated files. */
export interface AuditLine extends AuditEntry {
  seq: number;
}

/** Which lines to return. All given conditions hold for each of them. */
interface AuditFilter {
  /** Lines whose arguments or former values name the domain. */
  domain?: string | undefined;
  actor?: string | undefined;
  operation?: string | undefined;
  /** Lines from this time on, in milliseconds. */
  since?: number | undefined;
  /** Whether the caller may see the line. */
  isVisible?: ((line: AuditLine) => boolean) | undefined;
}

interface AuditPage {
  lines: AuditLine[];
  /** Whether older lines match. */
  more: boolean;
  total: number;
}

/** The most lines in memory while the audit file cannot be written. One such line is enough to refuse every change. */
const MAX_UNSAVED_LINES = 1000;

/**
 * `data/audit.jsonl`: who changed what. The lines of a commit are written and fsynced together with its files, before
 * HAProxy is changed, and removed if the commit fails (docs/adr/0005-audit-lines-ahead.md).
 */
@Injectable()
export class AuditLog {
  readonly #logger = new Logger('Audit');
  readonly #queue = pLimit(1);
  readonly #file: LogFile;
  readonly #home: string;
  /** `seq` of the last committed line. The lines of an unfinished commit follow it. */
  #lastSeq = 0;
  /** Lines for the next flush. */
  #waiting: AuditEntry[] = [];
  #flush: Promise<void> | undefined;
  /** Lines that could not be written. */
  #unsaved: AuditEntry[] = [];

  constructor({ files, home, auditLimits }: Settings) {
    this.#file = new LogFile(files.audit, auditLimits);
    this.#home = home;
  }

  /**
   * Reads the last line. If its revision is not that of the state, adds a line for the operation `start`: the suite was
   * killed between the line and the commit, or the operator replaced `servers.json`.
   *
   * @throws AppError storage_failed
   */
  async open(revision: number): Promise<void> {
    try {
      await this.#file.open();
      let last: AuditLine | undefined;
      for await (last of this.#newestFirst(Number.POSITIVE_INFINITY)) break;
      this.#lastSeq = last?.seq ?? 0;
      const known = last?.revision_after ?? 0;
      if (known !== revision) await this.append(entryOf(callContext(), 'start', known, revision, 'ok'));
    } catch (error) {
      throw asStorageError(error, this.#home);
    }
  }

  /**
   * Writes the lines of a commit with one write and one fsync. Other lines wait until these lines are
   * committed or discarded, so the caller must soon call `commit` or `discard`.
   *
   * @throws the error of the file system; the file is then unchanged
   */
  stageLines(entries: readonly AuditEntry[]): Promise<StagedWrite> {
    return new Promise((resolve, reject) => {
      const done = this.#queue(async () => {
        await this.#saveUnsaved();
        const { size, durable } = await this.#file.stageText(this.#textOf(entries));
        await new Promise<void>((settled) => {
          resolve({
            durable,
            commit: async () => {
              this.#lastSeq += entries.length;
              settled();
            },
            discard: async () => {
              await this.#file.truncateTo(size).catch((error: unknown) => {
                this.#logger.error(
                  `The last ${entries.length} line(s) of ${this.#file.path} belong to a failed change and could not be ` +
                    `removed: ${messageOf(error)}`,
                );
                this.#lastSeq += entries.length;
              });
              settled();
            },
          });
        });
      });
      done.catch(reject);
    });
  }

  /**
   * Writes a line for a call without a commit, or for a failed one. Lines that wait at the same time share one fsync. A
   * line that cannot be written is kept, and `checkWritable` refuses every change until the line is written.
   */
  async append(entry: AuditEntry): Promise<void> {
    this.#waiting.push(entry);
    this.#flush ??= this.#queue(async () => {
      this.#flush = undefined;
      this.#unsaved.push(...this.#waiting.splice(0));
      await this.#saveUnsaved().catch((error: unknown) => {
        const lost = this.#unsaved.splice(MAX_UNSAVED_LINES).length;
        this.#logger.error(
          `${this.#file.path} cannot be written: ${messageOf(error)}. Changes are refused until it can be written; ` +
            `${this.#unsaved.length} line(s) wait, ${lost} are lost.`,
        );
      });
    });
    return this.#flush;
  }

  /** @throws AppError storage_failed, while earlier lines cannot be written */
  async checkWritable(): Promise<void> {
    if (this.#unsaved.length === 0) return;
    await this.#queue(() => this.#saveUnsaved()).catch((error: unknown) => {
      throw asStorageError(error, this.#home);
    });
  }

  /** Up to `limit` lines with a `seq` below `before` that match the filter, newest first. */
  async page(limit: number, before = Number.POSITIVE_INFINITY, filter?: AuditFilter): Promise<AuditPage> {
    const lines: AuditLine[] = [];
    if (filter) {
      let total = 0;
      let more = false;
      for await (const line of this.#newestFirst(this.#lastSeq + 1, filter)) {
        total += 1;
        if (line.seq >= before) continue;
        if (lines.length < limit) lines.push(line);
        else more = true;
      }
      return { lines, more, total };
    }
    for await (const line of this.#newestFirst(Math.min(before, this.#lastSeq + 1))) {
      lines.push(line);
      if (lines.length > limit) break;
    }
    let oldest = this.#lastSeq + 1;
    for await (const path of this.#file.files())
      oldest = parseLine(await this.#file.firstLine(path))?.seq ?? oldest;
    const total = Math.max(0, this.#lastSeq + 1 - oldest);
    return { lines: lines.slice(0, limit), more: lines.length > limit, total };
  }

  /** The lines with a `seq` below `before`, newest first. */
  async *#newestFirst(before: number, filter: AuditFilter = {}): AsyncGenerator<AuditLine> {
    const { since = Number.NEGATIVE_INFINITY } = filter;
    const words = [filter.domain, filter.actor, filter.operation].flatMap((word) =>
      word === undefined ? [] : [JSON.stringify(word)],
    );
    for await (const path of this.#file.files()) {
      if ((parseLine(await this.#file.firstLine(path))?.seq ?? 0) >= before) continue;
      for await (const { text } of this.#file.linesFromEnd(path)) {
        // Most lines do not have the words. Looking for them costs much less than parsing.
        if (!words.every((word) => text.includes(word))) continue;
        const line = parseLine(text);
        if (!line || line.seq >= before) continue;
        if (Date.parse(line.time) < since) return;
        if (isMatch(line, filter) && filter.isVisible?.(line) !== false) yield line;
      }
    }
  }

  async #saveUnsaved(): Promise<void> {
    const entries = [...this.#unsaved];
    if (entries.length === 0) return;
    await this.#file.append(this.#textOf(entries));
    this.#lastSeq += entries.length;
    this.#unsaved = this.#unsaved.slice(entries.length);
  }

  #textOf(entries: readonly AuditEntry[]): string {
    return entries
      .map((entry, index) => `${JSON.stringify({ seq: this.#lastSeq + 1 + index, ...entry })}\n`)
      .join('');
  }
}

/** The entry for an operation of this caller that took the state from revision `before` to revision `after`. */
export function entryOf(
  caller: CallContext,
  operation: string,
  before: number,
  after: number,
  outcome: AuditEntry['outcome'],
  former = caller.audited?.before,
): AuditEntry {
  return {
    time: new Date().toISOString(),
    actor: caller.actor,
    via: caller.via,
    ...(caller.requestId !== undefined && { request_id: caller.requestId }),
    operation,
    arguments: caller.audited?.arguments ?? {},
    revision_before: before,
    revision_after: after,
    outcome,
    ...(caller.audited?.stage !== undefined && { stage: caller.audited.stage }),
    ...(former && outcome === 'ok' && { before: former }),
  };
}

function isMatch(line: AuditLine, { domain, actor, operation }: AuditFilter): boolean {
  if (actor !== undefined && line.actor !== actor) return false;
  if (operation !== undefined && line.operation !== operation) return false;
  return domain === undefined || domainsOf(line).has(domain);
}

/** The domains that the arguments or the former values of a line name. */
function domainsOf({ arguments: given, before }: AuditLine): Set<unknown> {
  const { domain, domains, share_with, to } = given;
  const former: unknown = before && Reflect.get(before, 'domains');
  return new Set([
    domain,
    share_with,
    to,
    ...(Array.isArray(domains) ? (domains as unknown[]) : []),
    ...(Array.isArray(former) ? former.map((one: { domain?: unknown }) => one.domain) : []),
  ]);
}

/** Undefined for text that is not a line of the log: the file may have been edited. */
function parseLine(text: string): AuditLine | undefined {
  try {
    const line = JSON.parse(text) as AuditLine;
    return Number.isSafeInteger(line.seq) ? line : undefined;
  } catch {
    return undefined;
  }
}
