import { Injectable } from '@nestjs/common';
import { AuditedOperations } from '../audit/audited-operations.js';
import type { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { Operation } from '../contract/operation.js';
import { invalidCursor } from '../contract/pages/page.js';
import { AppError } from '../errors/app-error.js';
import { asStorageError } from '../errors/storage-error.js';
import { type Change, changeOf } from '../model/change.js';
import type { Draft } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { type HistoryEntry, HistoryLog } from '../storage/history-log.js';
import { describeChange } from './describe-change.js';
import {
  HistoryDto,
  HistoryQueryDto,
  RevisionDto,
  RevisionRefDto,
  RollbackDto,
  TakenBackDto,
  UndoDto,
} from './history.dto.js';
import { type Revision, rollBack, undo } from './undo-rules.js';

/** Lines of a difference in a list of revisions, and in the answer of a change. */
const LISTED_LINES = 20;
const SHOWN_LINES = 100;
const NOTE =
  'Certificates are not taken back: {haproxy_list_certs} shows what is there. Sites that need one wait for it.';

/** What each revision changed, and taking it back. */
@Injectable()
export class HistoryService {
  constructor(
    private readonly log: HistoryLog,
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly operations: AuditedOperations,
    private readonly settings: Settings,
  ) {}

  @Operation({
    name: 'haproxy_history',
    title: 'List the history',
    description:
      'Lists the revisions, newest first: who made each, when, and what it changed. Use domain with limit=1 for the last ' +
      'change of a domain, and revision for all of one. Refused calls are in {haproxy_audit}. ' +
      'Next: {haproxy_undo} takes one back.',
    output: HistoryDto,
    readOnly: true,
    idempotent: true,
    errors: ['revision_not_found'],
  })
  async list({ limit, cursor, revision, ...given }: HistoryQueryDto): Promise<HistoryDto> {
    if (revision !== undefined) {
      const item = await this.get({ revision });
      return { items: [item], next_cursor: null, total: 1 };
    }
    const before = cursor === undefined ? Number.POSITIVE_INFINITY : revisionOf(cursor);
    const since = given.since === undefined ? undefined : Date.parse(given.since);
    const operation = this.operations.requireName(given.operation);
    const items: RevisionDto[] = [];
    let [total, more] = [0, false];
    const words = [given.domain, given.actor, operation].flatMap((word) =>
      word === undefined ? [] : [JSON.stringify(word)],
    );
    for await (const [entry, undone] of this.#newestFirst(words)) {
      if (since !== undefined && Date.parse(entry.time) < since) break;
      if (!isMatch(entry, { ...given, operation })) continue;
      total += 1;
      if (entry.revision >= before) continue;
      if (items.length < limit) items.push(describe(entry, undone, LISTED_LINES));
      else more = true;
    }
    return { items, next_cursor: more ? String(items.at(-1)?.revision) : null, total };
  }

  @Operation({
    name: 'haproxy_get_revision',
    title: 'Show a revision',
    description: 'Shows one revision with all that it changed, as text and for programs.',
    command: 'revisions get',
    output: RevisionDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
    errors: ['revision_not_found'],
  })
  async get({ revision }: RevisionRefDto): Promise<RevisionDto> {
    for await (const [entry, undone] of this.#newestFirst()) {
      if (entry.revision < revision) break;
      if (entry.revision === revision)
        return { ...describe(entry, undone, Number.POSITIVE_INFINITY), change: entry.change };
    }
    throw this.#notFound(revision);
  }

  @Operation({
    name: 'haproxy_undo',
    title: 'Undo a revision',
    description:
      'Takes back one revision: what it added, removed or changed is as before. Refused with undo_conflict if a later ' +
      'revision changed the same; other changes stay. Use dry_run first to see the plan. The undo is a revision of its ' +
      'own, which can be undone too.',
    output: TakenBackDto,
    destructive: true,
    errors: [
      'revision_not_found',
      'undo_conflict',
      'pools_exhausted',
      'server_is_control',
      'server_is_haproxy',
      'forbidden',
    ],
  })
  undo({ revision, ...rest }: UndoDto): Promise<TakenBackDto> {
    return this.#takeBack(
      revision,
      rest,
      (draft, [entry, ...later]) => {
        if (entry?.revision !== revision) throw this.#notFound(revision);
        undo(draft, entry, later, this.reconciler.poolLimit);
      },
      revision - 1,
    );
  }

  @Operation({
    name: 'haproxy_rollback',
    title: 'Roll back to a revision',
    description:
      'Makes all domains, servers and options be as they were after a revision: every later change is taken back, of all ' +
      'callers. To take back only one change use {haproxy_undo}. Use dry_run first.',
    output: TakenBackDto,
    destructive: true,
    adminOnly: true,
    errors: [
      'revision_not_found',
      'undo_conflict',
      'pools_exhausted',
      'server_is_control',
      'server_is_haproxy',
    ],
  })
  async rollback({ revision, ...rest }: RollbackDto): Promise<TakenBackDto> {
    if (revision > this.persistence.state.revision) throw this.#notFound(revision);
    const oldest = await this.#oldest();
    if (revision < oldest) throw this.#notFound(revision);
    return this.#takeBack(
      revision,
      rest,
      (draft, later) => {
        rollBack(draft, revision, later, this.reconciler.poolLimit);
      },
      revision,
    );
  }

  /** Runs an edit that sees all revisions after `after`. */
  async #takeBack(
    target: number,
    { dry_run }: DryRunDto,
    edit: (draft: Draft, later: readonly Revision[]) => void,
    after: number,
  ): Promise<TakenBackDto> {
    const { entries, stop } = await this.#reading(() => this.log.follow(after));
    try {
      const { value, planned } = await this.persistence.change(
        (draft): Change => {
          edit(draft, entries);
          return changeOf(draft, draft.base);
        },
        { dry_run },
        undefined,
        // With other edits in the same commit, `entries` would not have those that came before.
        { alone: true },
      );
      return { target, diff: describeChange(value).slice(0, SHOWN_LINES), note: NOTE, ...planned };
    } finally {
      stop();
    }
  }

  /** The revisions, newest first, and whether a later one has undone each. */
  async *#newestFirst(
    words?: readonly string[],
  ): AsyncGenerator<readonly [entry: HistoryEntry, undone: boolean]> {
    const takenBack = new Set<number>();
    let restored = Number.POSITIVE_INFINITY;
    try {
      for await (const entry of this.log.newestFirst(words)) {
        const undone = takenBack.has(entry.revision) || entry.revision > restored;
        yield [entry, undone];
        if (entry.revision <= restored) restored = Number.POSITIVE_INFINITY;
        if (undone) continue;
        if (entry.undoes !== undefined) takenBack.add(entry.undoes);
        if (entry.rolls_back_to !== undefined) restored = entry.rolls_back_to;
      }
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
  }

  /** The oldest revision whose state can be restored. */
  async #oldest(): Promise<number> {
    let oldest = this.persistence.state.revision;
    for await (const [entry] of this.#newestFirst()) {
      if (entry.unknown_since !== undefined) return entry.revision;
      oldest = entry.revision - 1;
    }
    return oldest;
  }

  async #reading<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
  }

  #notFound(revision: number): AppError {
    const { revision: last } = this.persistence.state;
    return new AppError(
      'revision_not_found',
      revision > last
        ? `There is no revision ${revision} yet. The last one is ${last}.`
        : `The history does not have revision ${revision}. It keeps the last ${this.settings.history.keep} (HISTORY_KEEP). {haproxy_history} lists them.`,
    );
  }
}

function describe(entry: HistoryEntry, undone: boolean, lines: number): RevisionDto {
  const { change, domains, ...rest } = entry;
  const diff = describeChange(change);
  const hidden = Math.max(0, diff.length - lines);
  return {
    ...rest,
    domains: [...domains],
    undone,
    diff: diff.slice(0, lines),
    ...(hidden > 0 && { more_diff: hidden }),
  };
}

function isMatch(
  entry: HistoryEntry,
  {
    domain,
    actor,
    operation,
  }: { domain?: string | undefined; actor?: string | undefined; operation: string | undefined },
): boolean {
  if (actor !== undefined && entry.actor !== actor) return false;
  if (operation !== undefined && entry.operation !== operation) return false;
  if (domain === undefined || entry.domains.includes(domain)) return true;
  return (
    entry.change.domains.some(([name]) => name === domain) ||
    entry.change.sites.some(([name]) => name === domain)
  );
}

function revisionOf(cursor: string): number {
  if (/^[1-9]\d{0,14}$/.test(cursor)) return Number(cursor);
  throw invalidCursor();
}
