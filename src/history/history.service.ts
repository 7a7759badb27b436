import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { AuditedOperations } from '../audit/audited-operations.js';
import { callContext } from '../contract/call-context.js';
import { type DryRunDto, shownOf } from '../contract/dry-run/dry-run.dto.js';
import { Operation } from '../contract/operation.js';
import { invalidCursor } from '../contract/pages/page.js';
import { AppError } from '../errors/app-error.js';
import { invalidField } from '../errors/invalid-fields.js';
import { asStorageError } from '../errors/storage-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { SteadyClock } from '../lib/steady-clock.js';
import { poolsOfChange, type Change, changeOf, inverseOf } from '../model/change/change.js';
import { outOfScope, type Scope } from '../model/scope/scope.js';
import { isOwn } from '../model/scope/scoped-draft.js';
import type { Draft } from '../model/draft.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import type { HistoryEntry } from '../storage/formats/history-entry.js';
import { HistoryLog, type LaterEntries } from '../storage/history-log.js';
import { describeChange } from './describe-change.js';
import { HistoryFilter, isInScope } from './history-filter.js';
import {
  HistoryDto,
  HistoryQueryDto,
  RevisionDto,
  RevisionRefDto,
  RollbackDto,
  TakenBackDto,
  UndoDto,
} from './history.dto.js';
import { type Revision, TakenBack } from './revision.js';
import { backendsOf, rollBack, type Situation, undo } from './undo-rules.js';

/** Lines of a difference in a list of revisions, and in the answer of a change. */
const LISTED_LINES = 20;
const SHOWN_LINES = 100;
/** The most domains that a note names. */
const NOTED = 10;
/** The most values of a change in the answer of a tool. */
const SHOWN_VALUES = 100;
const NOTE =
  'Certificates are not taken back: {haproxy_list_certs} shows what is there. Sites that need one wait for it.';

/** Errors of an undo and of a rollback. */
const TAKE_BACK_ERRORS = [
  'revision_not_found',
  'undo_conflict',
  'pools_exhausted',
  'server_is_control',
  'server_is_haproxy',
  'forbidden',
  'cancelled',
] as const;

/** What each revision changed, and taking it back. */
@Injectable()
export class HistoryService {
  /** A call that takes back holds all later revisions in memory, so only one runs. */
  readonly #queue = pLimit(1);

  constructor(
    private readonly log: HistoryLog,
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly operations: AuditedOperations,
    private readonly settings: Settings,
    private readonly clock: SteadyClock,
  ) {}

  @Operation({
    name: 'haproxy_history',
    scope: 'view',
    title: 'List the history',
    description:
      'Lists the revisions, newest first: who made each, when, and what it changed. Use domain with limit=1 for the last ' +
      'change of a domain, and revision for all of one. Refused calls are in {haproxy_audit}. ' +
      'Next: {haproxy_undo} takes one back.',
    output: HistoryDto,
    readOnly: true,
    idempotent: true,
    errors: ['revision_not_found', 'storage_failed'],
  })
  async list({ limit, cursor, revision, ...filter }: HistoryQueryDto): Promise<HistoryDto> {
    if (revision !== undefined) {
      refuseOthers({ cursor, ...filter });
      const whole = await this.get({ revision });
      const item = callContext().via === 'mcp' ? shortened(whole) : whole;
      return { items: [item], next_cursor: null, total: 1 };
    }
    const before = cursor === undefined ? Number.POSITIVE_INFINITY : revisionOf(cursor);
    const operation = this.operations.requireName(filter.operation);
    const { scope } = callContext();
    const matches = new HistoryFilter(
      { ...filter, operation, ...(scope?.limitsDomains && { scope }) },
      this.persistence.visible,
    );
    const items: RevisionDto[] = [];
    let [total, more] = [0, false];
    for await (const [entry, undone] of this.#newestFirst((text, number) =>
      matches.mayMatch(text, number < before),
    )) {
      if (matches.isBefore(entry)) break;
      if (!matches.includes(entry)) continue;
      total += 1;
      if (entry.revision >= before) continue;
      more = items.length === limit;
      // Without a filter, the total needs no reading.
      if (more && matches.isEmpty) break;
      if (!more) items.push(describe(entry, undone, LISTED_LINES));
    }
    if (matches.isEmpty) total = await this.#reading(() => this.log.count());
    return { items, next_cursor: more ? String(items.at(-1)?.revision) : null, total };
  }

  @Operation({
    name: 'haproxy_get_revision',
    scope: 'view',
    title: 'Show a revision',
    description: 'Shows one revision with all that it changed, as text and for programs.',
    command: 'revisions get',
    output: RevisionDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
    errors: ['revision_not_found', 'storage_failed'],
  })
  async get({ revision }: RevisionRefDto): Promise<WholeRevision> {
    for await (const [entry, undone] of this.#newestFirst((_, number) => number <= revision)) {
      if (entry.revision < revision) break;
      if (entry.revision === revision && isInScope(entry, callContext().scope))
        return { ...describe(entry, undone, Number.POSITIVE_INFINITY), change: entry.change };
    }
    throw this.#notFound(revision);
  }

  @Operation({
    name: 'haproxy_undo',
    scope: 'change',
    title: 'Undo a revision',
    description:
      'Takes back one revision: what it added, removed or changed is as before. Refused with undo_conflict if a later ' +
      'revision changed the same; other changes stay. Use dry_run first to see the plan. The undo is a revision of its ' +
      'own, which can be undone too.',
    output: TakenBackDto,
    destructive: true,
    errors: TAKE_BACK_ERRORS,
  })
  undo({ revision, ...rest }: UndoDto): Promise<TakenBackDto> {
    return this.#takeBack(
      revision,
      rest,
      revision - 1,
      (draft, { entries: [entry, ...later] }, situation) => {
        const { scope } = callContext();
        if (scope?.limitsDomains) requireEntryInScope(entry, revision, draft, scope);
        if (entry?.revision !== revision) throw this.#notFound(revision);
        return undo(draft, entry, later, situation);
      },
    );
  }

  @Operation({
    name: 'haproxy_rollback',
    scope: 'all',
    title: 'Roll back to a revision',
    description:
      'Makes all domains, servers and options be as they were after a revision: every later change is taken back, of all ' +
      'callers. To take back only one change use {haproxy_undo}. Use dry_run first.',
    output: TakenBackDto,
    destructive: true,
    adminOnly: true,
    errors: TAKE_BACK_ERRORS,
  })
  async rollback({ revision, ...rest }: RollbackDto): Promise<TakenBackDto> {
    return this.#takeBack(revision, rest, revision, (draft, { entries, reachesBack }, situation) => {
      const isKept = reachesBack || entries[0]?.revision === revision + 1;
      if (revision > situation.present || (revision < situation.present && !isKept))
        throw this.#notFound(revision);
      rollBack(draft, revision, entries, situation);
      return [];
    });
  }

  /** Runs an edit that sees all revisions after `after`. One at a time; not for a caller that has gone. */
  #takeBack(target: number, dryRun: DryRunDto, after: number, edit: TakeBack): Promise<TakenBackDto> {
    return this.#queue(() => this.#takeBackNow(target, dryRun, after, edit));
  }

  async #takeBackNow(
    target: number,
    { dry_run }: DryRunDto,
    after: number,
    edit: TakeBack,
  ): Promise<TakenBackDto> {
    requireCaller();
    const later = await this.#reading(() => this.log.follow(after, requireCaller));
    try {
      const backendProblem = await this.#backendProblems(later.entries);
      const { role } = callContext();
      const { value, planned } = await this.persistence.change(
        (draft): { change: Change; ended: readonly string[] } => {
          const { revision: present } = this.persistence.state;
          // A commit under way is in the history a moment before it is in the state.
          const entries = later.entries.filter(({ revision }) => revision <= present);
          const ended = edit(
            draft,
            { entries, reachesBack: later.reachesBack },
            { present, limit: this.reconciler.poolLimit, role, now: this.clock.latest(), backendProblem },
          );
          return { change: changeOf(draft, draft.base), ended };
        },
        { dry_run },
        undefined,
        // With other edits in the same commit, `entries` would not have those that came before.
        { alone: true },
      );
      const { plan, ...rest } = planned;
      const { change, ended } = value;
      return {
        target,
        ...shownLines(change, SHOWN_LINES),
        note: noteOf(ended),
        ...rest,
        ...(plan && shownOf(plan)),
      };
    } finally {
      later.stop();
    }
  }

  /**
   * Asks HAProxy for the backends of the operator that revisions took domains away from, as an addition does. A revision that
   * is committed later can name others, which are refused.
   */
  async #backendProblems(revisions: readonly Revision[]): Promise<Situation['backendProblem']> {
    const names = new Set(revisions.flatMap(({ change }) => backendsOf(inverseOf(change))));
    if (names.size === 0) return () => undefined;
    const problems = await this.runtime.findBackendProblems([...names]);
    return (backend) => (names.has(backend) ? problems.get(backend) : 'it was not checked. Repeat the call');
  }

  /** The revisions, newest first, and whether a later one has undone each. */
  async *#newestFirst(
    wants?: (text: string, revision: number) => boolean,
  ): AsyncGenerator<readonly [entry: HistoryEntry, undone: boolean]> {
    const takenBack = new TakenBack();
    try {
      for await (const entry of this.log.newestFirst(wants)) yield [entry, takenBack.by(entry) !== undefined];
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
  }

  async #reading<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
  }

  #notFound(revision: number): AppError {
    if (callContext().scope?.limitsDomains)
      return new AppError(
        'revision_not_found',
        `There is no revision ${revision} of the domains of this token. {haproxy_history} lists those that are kept.`,
      );
    const { revision: last } = this.persistence.state;
    const { keep, maxBytes } = this.settings.history;
    return new AppError(
      'revision_not_found',
      revision > last
        ? `There is no revision ${revision} yet. The last one is ${last}.`
        : `The history does not have revision ${revision}. It keeps the last ${keep} (HISTORY_KEEP), and at most ${maxBytes / 1024 / 1024} MB of them ` +
            '(HISTORY_MAX_MB). Or a file of the history was lost. {haproxy_history} lists what there is.',
    );
  }
}

/**
 * A token that is limited to some domains may undo what it may see. What the pools of the revision are now counts too: others
 * can have got their numbers since. It does not count for a pool that the revision freed, because the undo takes another one
 * then, nor for the other domains of a backend that the token may use. `requireInScope` checks the result.
 *
 * @throws AppError forbidden
 */
function requireEntryInScope(
  entry: HistoryEntry | undefined,
  revision: number,
  draft: Draft,
  scope: Scope,
): void {
  const isVisible = entry?.revision === revision && isInScope(entry, scope);
  if (!isVisible) throw outOfScope();
  const freed = new Set(entry.change.pools.flatMap(([name, , after]) => (after === null ? [name] : [])));
  for (const name of poolsOfChange(entry.change))
    if (!freed.has(name) && !isOwn(name, draft, scope)) throw outOfScope();
}

/** A revision with all that it changed. */
type WholeRevision = RevisionDto & { change: Change };

/** An edit that takes revisions back. */
type TakeBack = (draft: Draft, later: Omit<LaterEntries, 'stop'>, situation: Situation) => readonly string[];

/** What is not taken back, and the domains that come back without their expiry. */
function noteOf(ended: readonly string[]): string {
  if (ended.length === 0) return NOTE;
  const more = ended.length > NOTED ? ` and ${ended.length - NOTED} more` : '';
  return `${NOTE} Their time has passed, so they have no expiry now: ${ended.slice(0, NOTED).join(', ')}${more}.`;
}

/** @throws AppError cancelled */
function requireCaller(): void {
  if (callContext().signal().aborted)
    throw new AppError('cancelled', 'The caller has gone or has cancelled the call. Nothing was changed.');
}

function describe(entry: HistoryEntry, undone: boolean, lines: number): RevisionDto {
  const { change, domains, base: _, state: __, ...rest } = entry;
  return { ...rest, domains: [...domains], undone, ...shownLines(change, lines) };
}

function shownLines(change: Change, lines: number): Pick<RevisionDto, 'diff' | 'more_diff'> {
  const diff = describeChange(change);
  const hidden = Math.max(0, diff.length - lines);
  return { diff: diff.slice(0, lines), ...(hidden > 0 && { more_diff: hidden }) };
}

/** A revision for the answer of a tool: that of an import of 10,000 domains would have 7 MB. */
function shortened({ change, ...rest }: WholeRevision): RevisionDto {
  const { pools, domains, servers, sites } = change;
  const values = pools.length + domains.length + servers.length + sites.length;
  return { ...rest, ...shownLines(change, SHOWN_LINES), ...(values <= SHOWN_VALUES && { change }) };
}

/** @throws AppError validation_failed, for an argument that is given beside `revision` */
function refuseOthers(others: Omit<HistoryQueryDto, 'limit' | 'revision'>): void {
  const given = Object.entries(others).find(([, value]) => value !== undefined);
  if (given) throw invalidField(given[0], 'is not read together with revision. Leave one of both out');
}

function revisionOf(cursor: string): number {
  if (/^[1-9]\d{0,14}$/.test(cursor)) return Number(cursor);
  throw invalidCursor();
}
