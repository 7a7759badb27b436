import { Injectable, Logger } from '@nestjs/common';
import type { CallContext } from '../contract/call-context.js';
import { asStorageError } from '../errors/storage-error.js';
import { type Change, domainsOfChange } from '../model/change.js';
import type { Draft, TakesBack } from '../model/state.js';
import { Settings } from '../settings/settings.js';
import { LogFile } from './files/log-file.js';
import type { StagedWrite } from './files/staged-write.js';
import { messageOf } from '../errors/app-error.js';

/** One revision: who changed what, and each value before and after. One line of `data/history.jsonl`. */
export interface HistoryEntry extends TakesBack {
  revision: number;
  /** RFC 3339, UTC. */
  time: string;
  actor: string;
  via: CallContext['via'];
  request_id?: string;
  /** The name of the operation, which is also the name of its tool. */
  operation: string;
  /** Which of the commits of the call this is, if a call makes several. */
  stage?: string;
  /** The domains that the change affects, at most DOMAINS_LISTED. */
  domains: readonly string[];
  /** How many more domains the change affects. */
  more_domains?: number;
  /** The revisions before this one are not known, back to this one: the file was lost, or `servers.json` replaced. */
  unknown_since?: number;
  change: Change;
}

/** A pool can have 100,000 domains. */
const DOMAINS_LISTED = 100;
/** The history is in this many files, so that the oldest part can be deleted. */
const FILES = 16;
const TAKES_BACK = /"(?:undoes|rolls_back_to|unknown_since)":/;
const NO_CHANGE: Change = { pools: [], domains: [], servers: [], sites: [] };

/**
 * `data/history.jsonl`: what each revision changed. The lines of a commit are written and fsynced together with its
 * files, before HAProxy is changed, and removed if the commit fails.
 */
@Injectable()
export class HistoryLog {
  readonly #logger = new Logger('History');
  readonly #file: LogFile;
  readonly #home: string;
  readonly #keep: number;
  readonly #followers = new Set<HistoryEntry[]>();
  /** The revision of the last committed line. */
  #last = 0;

  constructor({ files, home, history }: Settings) {
    this.#file = new LogFile(files.history, {
      maxBytes: Math.ceil(history.maxBytes / FILES),
      maxFiles: FILES,
    });
    this.#home = home;
    this.#keep = history.keep;
  }

  /**
   * Removes the lines of a commit that did not complete. If the last line is not of this revision, adds a line that says
   * which revisions are not known. A damaged file does not stop the start.
   *
   * @throws AppError storage_failed
   */
  async open(revision: number): Promise<void> {
    try {
      await this.#file.open();
      await this.#removeAfter(revision);
      if (this.#last === revision) return;
      const unknown_since = this.#last;
      if (unknown_since > 0)
        this.#logger.warn(
          `${this.#file.path} does not have the revisions from ${unknown_since + 1} to ${revision}. They cannot be undone.`,
        );
      const marker: HistoryEntry = {
        revision,
        time: new Date().toISOString(),
        actor: 'suite',
        via: 'internal',
        operation: 'start',
        domains: [],
        unknown_since,
        change: NO_CHANGE,
      };
      await this.#file.append(`${JSON.stringify(marker)}\n`);
      this.#last = revision;
    } catch (error) {
      throw asStorageError(error, this.#home);
    }
  }

  /** @throws the error of the file system; the file is then unchanged */
  async stageEntries(entries: readonly HistoryEntry[]): Promise<StagedWrite> {
    const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
    const { size, durable } = await this.#file.stageText(text);
    return {
      durable,
      commit: async () => {
        this.#last = entries.at(-1)?.revision ?? this.#last;
        for (const follower of this.#followers) follower.push(...entries);
      },
      // Lines that cannot be removed have revisions that the next commit uses again. The later line counts.
      discard: () =>
        this.#file.truncateTo(size).catch((error: unknown) => {
          this.#logger.error(
            `The last ${entries.length} line(s) of ${this.#file.path} belong to a failed change and could not be removed: ${messageOf(error)}`,
          );
        }),
    };
  }

  /**
   * The kept revisions, newest first. With `words`, only those whose line has each of these texts, and those that take
   * others back: to look for a text costs much less than to parse the line.
   */
  async *newestFirst(words: readonly string[] = []): AsyncGenerator<HistoryEntry> {
    let next = this.#last + 1;
    const oldest = this.#last - this.#keep;
    for await (const path of this.#file.files())
      for await (const text of this.#file.linesFromEnd(path)) {
        if (!words.every((word) => text.includes(word)) && !TAKES_BACK.test(text)) continue;
        const entry = parseEntry(text);
        // The lines of a commit under way, or of a failed commit whose lines could not be removed.
        if (!entry || entry.revision >= next) continue;
        if (entry.revision <= oldest) return;
        yield entry;
        next = entry.revision;
      }
  }

  /**
   * The entries after `revision`, oldest first, and from now on each entry that is committed, until `stop`. So an edit
   * that runs alone sees all entries up to the state that it changes.
   */
  async follow(revision: number): Promise<{ entries: readonly HistoryEntry[]; stop: () => void }> {
    const later: HistoryEntry[] = [];
    const reading = this.newestFirst();
    this.#followers.add(later);
    const stop = () => void this.#followers.delete(later);
    try {
      const earlier: HistoryEntry[] = [];
      for await (const entry of reading) {
        if (entry.revision <= revision) break;
        earlier.push(entry);
      }
      const known = new Set(earlier.map((entry) => entry.revision));
      later.splice(
        0,
        later.length,
        ...earlier.toReversed(),
        ...later.filter((entry) => !known.has(entry.revision)),
      );
      return { entries: later, stop };
    } catch (error) {
      stop();
      throw error;
    }
  }

  /** The last line that stays is the last known revision. */
  async #removeAfter(revision: number): Promise<void> {
    for await (const path of this.#file.files()) {
      let bytes = 0;
      for await (const text of this.#file.linesFromEnd(path)) {
        const entry = parseEntry(text);
        if (entry && entry.revision <= revision) {
          this.#last = entry.revision;
          if (bytes > 0 && path === this.#file.path) await this.#file.removeLast(bytes);
          return;
        }
        bytes += Buffer.byteLength(text) + 1;
      }
      if (path === this.#file.path) await this.#file.truncateTo(0);
    }
  }
}

export function historyEntryOf(
  caller: CallContext,
  revision: number,
  change: Change,
  draft: Draft,
): HistoryEntry {
  const { audited } = caller;
  const named = [
    ...domainsOfChange(change, (pool) => draft.pool(pool)?.domains ?? draft.base.pool(pool)?.domains ?? []),
  ];
  return {
    revision,
    time: new Date().toISOString(),
    actor: caller.actor,
    via: caller.via,
    ...(caller.requestId !== undefined && { request_id: caller.requestId }),
    operation: audited?.operation ?? 'internal',
    ...(audited?.stage !== undefined && { stage: audited.stage }),
    ...draft.takesBack,
    domains: named.slice(0, DOMAINS_LISTED),
    ...(named.length > DOMAINS_LISTED && { more_domains: named.length - DOMAINS_LISTED }),
    change,
  };
}

/** Undefined for text that is not a line of the history: the file may have been edited or damaged. */
function parseEntry(text: string): HistoryEntry | undefined {
  try {
    const entry = JSON.parse(text) as HistoryEntry;
    return Number.isSafeInteger(entry.revision) && Array.isArray(entry.change?.pools) ? entry : undefined;
  } catch {
    return undefined;
  }
}
