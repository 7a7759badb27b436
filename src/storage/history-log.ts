import { Injectable, Logger } from '@nestjs/common';
import type { CallContext } from '../contract/call-context.js';
import { messageOf } from '../errors/app-error.js';
import { asStorageError } from '../errors/storage-error.js';
import { type Change, changeOf, domainsOfChange, NO_CHANGE } from '../model/change/change.js';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import { StateHash } from '../model/change/state-hash.js';
import { Settings } from '../settings/settings.js';
import { LogFile } from './files/log-file.js';
import type { StagedWrite } from './files/staged-write.js';
import {
  type HistoryEntry,
  parseEntry,
  renderEntry,
  revisionOf,
  takesBack,
} from './formats/history-entry.js';

/** An entry before it is staged. */
export type NewEntry = Omit<HistoryEntry, 'state'>;

/** The entries after a revision. */
export interface LaterEntries {
  /** Oldest first. An entry that is committed later is added at the end. */
  entries: readonly HistoryEntry[];
  /** Whether older entries are kept, so that a missing entry is damage. */
  reachesBack: boolean;
  stop: () => void;
}

/** A pool can have 100,000 domains. */
const DOMAINS_LISTED = 100;
/** The history is in this many files, so that the oldest part can be deleted. */
const FILES = 16;
/** Longer than the revision of a line. */
const REVISION_BYTES = 64;

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
  /** Of the committed state. */
  #hash = StateHash.empty;

  constructor({ files, home, history }: Settings) {
    this.#file = new LogFile(files.history, {
      maxBytes: Math.ceil(history.maxBytes / FILES),
      maxFiles: FILES,
    });
    this.#home = home;
    this.#keep = history.keep;
  }

  /**
   * Removes the lines of a commit that did not complete. If the last line does not end at this state, adds a line that says
   * what is not known. Without a state, which is a first start, it sets the files of an earlier installation aside. A
   * damaged file does not stop the start.
   *
   * @throws AppError storage_failed
   */
  async open(state: State | undefined): Promise<void> {
    try {
      await this.#file.open();
      if (state) await this.#continueAt(state);
      else await this.#begin();
    } catch (error) {
      throw asStorageError(error, this.#home);
    }
  }

  /**
   * Records what a first start adopted. Call it after the state is saved.
   *
   * @throws AppError storage_failed
   */
  async recordAdoption(state: State): Promise<void> {
    if (state.revision === 0) return;
    const empty = new State(0);
    const adopted = new Draft(empty);
    adopted.replacePools(state.pools);
    for (const [host, site] of state.sites) adopted.setSite(host, site);
    const change = changeOf(adopted, empty);
    const { domains, more } = domainsOfChange(change, (pool) => state.pool(pool), DOMAINS_LISTED);
    try {
      await this.#append(state, {
        admin_only: true,
        domains,
        ...(more > 0 && { more_domains: more }),
        change,
      });
    } catch (error) {
      throw asStorageError(error, this.#home);
    }
  }

  /** @throws the error of the file system; the file is then unchanged */
  async stageEntries(given: readonly NewEntry[]): Promise<StagedWrite> {
    let hash = this.#hash;
    const entries = given.map((entry): HistoryEntry => {
      hash = hash.after(entry.change);
      return { ...entry, state: hash.toString() };
    });
    const { size, durable } = await this.#file.stageText(entries.map(renderEntry).join(''));
    return {
      durable,
      commit: async () => {
        this.#last = entries.at(-1)?.revision ?? this.#last;
        this.#hash = hash;
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

  /** How many revisions are kept, without reading them. Missing ones in between are counted. */
  async count(): Promise<number> {
    const known = (await this.#firstRevisions()).filter((first) => first !== undefined);
    return Math.min(this.#keep, this.#last + 1 - Math.min(this.#last + 1, ...known));
  }

  /** The revision of the first line of each file; undefined for a damaged line. */
  async #firstRevisions(): Promise<(number | undefined)[]> {
    const found: (number | undefined)[] = [];
    for await (const path of this.#file.files())
      found.push(revisionOf(await this.#file.beginning(path, REVISION_BYTES)));
    return found;
  }

  /**
   * The kept revisions, newest first. With `wants`, only those whose line it wants, and those that take others back: to
   * search a line costs much less than to parse it. An entry after lines that are missing or damaged has `unknown_since`.
   */
  async *newestFirst(
    wants: (text: string, revision: number) => boolean = () => true,
  ): AsyncGenerator<HistoryEntry> {
    let next = this.#last + 1;
    const oldest = this.#last - this.#keep;
    /** Held back until it is known whether the line before it is there. */
    let held: HistoryEntry | undefined;
    for await (const path of this.#file.files())
      for await (const { text } of this.#file.linesFromEnd(path)) {
        const revision = revisionOf(text);
        // The lines of a commit under way, or of a failed commit whose lines could not be removed.
        if (revision === undefined || revision >= next) continue;
        if (revision <= oldest) {
          if (held) yield held;
          return;
        }
        const isWanted = wants(text, revision) || takesBack(text);
        const entry = isWanted ? parseEntry(text) : undefined;
        if (isWanted && !entry) continue;
        if (held) yield revision < held.revision - 1 ? { unknown_since: revision, ...held } : held;
        held = entry;
        next = revision;
      }
    if (held) yield held;
  }

  /**
   * The entries after `revision`, oldest first, and from now on each entry that is committed, until `stop`. So an edit
   * that runs alone sees all entries up to the state that it changes. There are none if the next revision is older than all
   * that are kept. `check` is called for each entry; what it throws ends the reading.
   */
  async follow(revision: number, check: () => void = () => undefined): Promise<LaterEntries> {
    const later: HistoryEntry[] = [];
    const firsts = await this.#firstRevisions();
    const oldest = Math.max(
      this.#last + 1 - this.#keep,
      Math.min(this.#last + 1, ...firsts.map((first) => first ?? 0)),
    );
    if (revision + 1 < oldest) return { entries: later, reachesBack: false, stop: () => undefined };
    const reading = this.newestFirst();
    this.#followers.add(later);
    const stop = () => void this.#followers.delete(later);
    try {
      const earlier: HistoryEntry[] = [];
      let reachesBack = false;
      for await (const entry of reading) {
        check();
        reachesBack = entry.revision <= revision;
        if (reachesBack) break;
        earlier.push(entry);
      }
      const known = new Set(earlier.map((entry) => entry.revision));
      later.splice(
        0,
        later.length,
        ...earlier.toReversed(),
        ...later.filter((entry) => !known.has(entry.revision)),
      );
      return { entries: later, reachesBack, stop };
    } catch (error) {
      stop();
      throw error;
    }
  }

  /** A first start has no history. Another installation may have left one here. */
  async #begin(): Promise<void> {
    const suffix = `.set-aside-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
    if (await this.#file.setAside(suffix))
      this.#logger.warn(
        `There is no servers.json, so ${this.#file.path} belongs to another state. It is kept as ${this.#file.path}${suffix}.`,
      );
  }

  async #continueAt(state: State): Promise<void> {
    const last = await this.#removeAfter(state.revision);
    this.#hash = StateHash.of(state);
    this.#last = state.revision;
    const isSame = last ? last.state === this.#hash.toString() : state.pools.size === 0;
    if (isSame && (last?.revision ?? 0) === state.revision) return;
    const unknown_since = Math.max(0, Math.min(last?.revision ?? 0, state.revision - 1));
    const isEdited = last?.revision === state.revision;
    const text = isEdited
      ? `servers.json is not as revision ${state.revision} left it: another program changed it while the suite did not run. What was changed before cannot be undone.`
      : `${this.#file.path} does not have the revisions from ${unknown_since + 1} to ${state.revision}. They cannot be undone.`;
    // Without any line, the state is most often that of a version without history.
    if (last) this.#logger.warn(text);
    else this.#logger.log(text);
    await this.#append(state, { unknown_since, domains: [], change: NO_CHANGE });
  }

  /** Adds a line of the suite itself. */
  async #append(
    state: State,
    values: Pick<HistoryEntry, 'domains' | 'change'> & Partial<HistoryEntry>,
  ): Promise<void> {
    const { revision } = state;
    const hash = StateHash.of(state);
    await this.#file.append(
      renderEntry({
        revision,
        base: revision,
        time: new Date().toISOString(),
        actor: 'suite',
        via: 'internal',
        operation: 'start',
        state: hash.toString(),
        ...values,
      }),
    );
    this.#last = revision;
    this.#hash = hash;
  }

  /**
   * Removes the lines after `revision` from the newest file, and returns the last line that stays. Lines of older files can
   * stay, because a reader skips lines that a later line has replaced.
   */
  async #removeAfter(revision: number): Promise<HistoryEntry | undefined> {
    for await (const path of this.#file.files()) {
      /** Whether all lines after `revision` belong to one commit on top of it, which a kill has interrupted. */
      let isInterrupted = true;
      let found: HistoryEntry | undefined;
      let end = 0;
      for await (const line of this.#file.linesFromEnd(path)) {
        const entry = parseEntry(line.text);
        if (entry && entry.revision <= revision) {
          [found, end] = [entry, line.end];
          break;
        }
        if (entry?.base !== revision) isInterrupted = false;
      }
      if (path === this.#file.path)
        await this.#cut(end, isInterrupted ? undefined : `.set-aside-after-${revision}`);
      if (found) return found;
    }
    return undefined;
  }

  /** Removes what follows `end` from the newest file; keeps a copy if a suffix is given. */
  async #cut(end: number, suffix: string | undefined): Promise<void> {
    if (suffix !== undefined) {
      await this.#file.copyFrom(end, suffix);
      this.#logger.warn(
        `${this.#file.path} has lines that are damaged, or later than servers.json. They are kept in ${this.#file.path}${suffix}.`,
      );
    }
    await this.#file.truncateTo(end);
  }
}

/** The entry for a change of this caller. `base` is the revision before the commit. */
export function historyEntryOf(
  caller: CallContext,
  base: number,
  revision: number,
  change: Change,
  draft: Draft,
): NewEntry {
  const { audited } = caller;
  const { domains, more } = domainsOfChange(
    change,
    (pool) => draft.pool(pool) ?? draft.base.pool(pool),
    DOMAINS_LISTED,
  );
  return {
    revision,
    base,
    time: new Date().toISOString(),
    actor: caller.actor,
    via: caller.via,
    ...(caller.requestId !== undefined && { request_id: caller.requestId }),
    operation: audited?.operation ?? 'internal',
    ...(audited?.stage !== undefined && { stage: audited.stage }),
    ...draft.takesBack,
    domains,
    ...(more > 0 && { more_domains: more }),
    change,
  };
}
