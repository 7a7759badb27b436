import { Inject, Injectable, Logger } from '@nestjs/common';
import { EventFeed } from '../signals/event-feed.js';
import type { DryRunDto, PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { editIfMatches } from '../contract/preconditions/check-precondition.js';
import type { DomainChangeDto } from '../contract/preconditions/precondition.dto.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import { Settings } from '../settings/settings.js';
import { AuditLog } from '../storage/audit-log.js';
import { HistoryLog } from '../storage/history-log.js';
import { type EditGroup, runEdits } from './edit-group.js';
import { CheckpointTimer } from './checkpoint-timer.js';
import { OwnerLock } from '../storage/owner-lock.js';
import { describeSteps, reloadStep } from '../contract/dry-run/describe-plan.js';
import { describeChangedSites, withoutSiteSteps } from '../contract/dry-run/describe-sites.js';
import { stageAll, type StagedWrite } from '../storage/files/staged-write.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { domainTag } from '../model/change/domain-tag.js';
import { formerValues } from '../model/change/former.js';
import { inverse, touchedDomains } from '../model/change/state-delta.js';
import type { FileDifference } from '../storage/files/state-files.js';
import { StateStore } from '../storage/state-store.js';
import { requireOwn, requireReplaceable, requireTarget } from '../storage/files/replaceable.js';
import { asStorageError } from '../errors/storage-error.js';
import { type CallContext, callContext } from '../contract/call-context.js';
import { draftInScope, requireInScope } from '../model/scope/scoped-draft.js';
import { stateInScope } from '../model/scope/scoped-state.js';
import { State, type StateDelta, type StateReader } from '../model/state.js';
import { refuseExternalPools } from './external-pool-rule.js';
import { refusePoolOptions } from './pool-options-rule.js';
import { beforeReload, type PoolsReloader, ReloadWindow } from './pools-reloader.js';
import { refuseInvalidSites } from './site-rule.js';
import {
  WriterQueue,
  type Edit,
  type CommitOptions,
  type Committed,
  type OnStage,
  type PendingEdit,
} from './writer-queue.js';

/** What a commit needs of the reconciler. */
type Reconciler = Pick<
  ReconcilerService,
  | 'loadAdoptionRecord'
  | 'keptEntries'
  | 'adopt'
  | 'apply'
  | 'preview'
  | 'mayNeedReload'
  | 'poolsThatNeedReload'
  | 'refuseUnknownOptions'
>;

/** The arguments of a change. `domain`: the one domain that it changes, if it changes only one and its pool. */
interface ChangeInput extends DryRunDto {
  domain?: string;
}

interface ChangeOptions extends CommitOptions {
  /** The name of the domain after the change. Default: it keeps its name. */
  renamedTo?: string;
}

interface DescribedChange<T> {
  value: T;
  fields: Pick<DomainChangeDto, 'before' | 'etag'>;
  changes: boolean;
}

/**
 * Owns the desired state: `servers.json`, which is the source of truth, the files derived from it, and the order of
 * changes. There is one writer; edits that wait at the same time are committed together (group commit).
 */
@Injectable()
export class PersistenceService {
  readonly #logger = new Logger('Persistence');
  readonly #checkpoints: CheckpointTimer;
  readonly #lock: OwnerLock;
  readonly #queue: WriterQueue;
  readonly #reloadWindow: ReloadWindow;
  #reloader: PoolsReloader | undefined;
  readonly #declarations = new Map<string, number>();
  #state = new State(0);
  /** True while there is no `servers.json` and HAProxy has not answered, so that nothing could be adopted yet. */
  #adoptionPending = false;
  #hasAdopted = false;

  constructor(
    private readonly settings: Settings,
    private readonly audit: AuditLog,
    private readonly history: HistoryLog,
    private readonly store: StateStore,
    @Inject(ReconcilerService) private readonly reconciler: Reconciler,
    @Inject(ServerGuard) private readonly guard: Pick<ServerGuard, 'checkChange'>,
    private readonly feed: EventFeed = new EventFeed(),
  ) {
    this.#lock = new OwnerLock({
      home: settings.home,
      lock: settings.files.lock,
      state: settings.files.servers,
    });
    this.#queue = new WriterQueue((edits) => this.#commitGroup(edits));
    this.#reloadWindow = new ReloadWindow((edits) => this.#queue.pushAgain(edits));
    this.#checkpoints = new CheckpointTimer(() => this.#checkpoint());
  }

  /** The committed state. Read it within one tick: the next commit changes it in place. */
  get state(): State {
    return this.#state;
  }

  /**
   * The committed state as the current caller may see it: without domains that are not in the scope of its token. The state
   * itself for every other caller. What answers callers reads this one, and what keeps HAProxy in sync reads `state`.
   */
  get visible(): State {
    return stateInScope(this.#state, callContext().scope);
  }

  /** Call it once, before the first change. */
  useReloader(reloader: PoolsReloader): void {
    this.#reloader = reloader;
  }

  /** Whether this start was a first start: its state came from a HAProxy or from files of an operator. */
  get hasAdopted(): boolean {
    return this.#hasAdopted;
  }

  /**
   * Checks that the suite can replace its files, and takes the lock. No file may be written before.
   *
   * @throws OwnedByAnotherError, or AppError storage_failed
   */
  async acquire(): Promise<void> {
    try {
      const { servers, map, sites, pools, suite, certificates, audit } = this.settings.files;
      requireReplaceable([servers, map, ...Object.values(sites), pools, suite, certificates]);
      requireOwn(Object.values(sites), suite, () => this.store.ownsSiteMaps());
      requireTarget(servers, audit);
      await this.#lock.acquire();
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
  }

  /**
   * Reads `servers.json` and rewrites the derived files that differ. Without a `servers.json` the state of HAProxy is
   * adopted. Call it after `acquire`, with the haproxy.cfg that HAProxy will use.
   *
   * @throws StateFileError, or AppError storage_failed
   */
  async open(): Promise<void> {
    try {
      const state = await this.store.open();
      if (state) this.#state = state;
      await this.audit.open(this.#state.revision);
      await this.history.open(state);
      await this.reconciler.loadAdoptionRecord();
      if (state) this.store.keepMapEntries(this.reconciler.keptEntries);
      if (state) {
        await this.store.checkpoint(state);
        await this.store.startJournalEarly(state);
      } else await this.#adopt().catch((error: unknown) => this.#adoptLater(error));
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
    this.#logger.log(
      `revision ${this.#state.revision}: ${this.#state.domainCount} domains in ${this.#state.pools.size} pools, from ${this.settings.files.servers}`,
    );
  }

  /** Finishes the queued work, refuses new work, and releases the lock. */
  async close(): Promise<void> {
    this.#checkpoints.stop();
    this.#reloadWindow.releaseNow();
    const last = this.#checkpoint(true).catch(() => undefined);
    await this.#queue.close();
    await last;
    await this.#lock.release();
  }

  /**
   * Runs `edit` on a draft of the latest state, and makes the result durable and live. After any error, including
   * errors of `edit`, the files and HAProxy are as before. An edit that changes nothing makes no revision and no write.
   *
   * @throws what `edit` throws; AppError storage_failed, haproxy_rejected, haproxy_unavailable, shutting_down
   */
  commit<T>(edit: Edit<T>, onStage?: OnStage, options?: CommitOptions): Promise<Committed<T>> {
    return metrics.change(this.#queue.push(edit, onStage, options));
  }

  /**
   * What `commit` would return and do now. Changes no file, no revision and nothing in HAProxy. It uses the committed
   * state and does not wait for a commit under way. Exception: it first completes a pending adoption.
   *
   * @throws what `edit` throws; AppError haproxy_unavailable, haproxy_rejected, storage_failed
   */
  async preview<T>(edit: Edit<T>): Promise<{ value: T; plan: PlanStepDto[] }> {
    if (this.#adoptionPending) await this.exclusively(() => Promise.resolve());
    const before = this.#state;
    const draft = draftInScope(before, callContext().scope);
    const value = edit(draft);
    if (draft.isEmpty) return { value, plan: [] };
    this.#check(draft, before, callContext());
    // How a file changes depends on everything that it has, also on what the caller may not see.
    const isLimited = callContext().scope?.limitsDomains === true;
    const files = isLimited ? [] : this.store.describeCommit(draft, before);
    const reloaded = await this.#poolsToReload(draft);
    const isReloaded = reloaded.length > 0;
    const steps = await this.reconciler.preview(
      isReloaded ? beforeReload(draft, before, reloaded) : draft,
      before,
    );
    if (isReloaded) await this.#requireReloader().check(this.store.poolsText(draft, before));
    const domainsOf = (pool: string) => draft.pool(pool)?.domains ?? [];
    const described = isLimited
      ? [...describeSteps(withoutSiteSteps(steps), domainsOf), ...describeChangedSites(draft.sites.keys())]
      : describeSteps(steps, domainsOf);
    const plan = [...described, ...files];
    return { value, plan: isReloaded ? [...plan, reloadStep(reloaded)] : plan };
  }

  /**
   * `commit`, or `preview` with `dry_run`. `planned` holds the fields that every change adds to its answer: the former
   * values, the revision, and the plan of a dry run. For a change of one domain, the edit first checks the precondition of
   * the caller, and `planned` has the ETag of the domain.
   *
   * @throws as `commit` and `preview`; AppError revision_mismatch
   */
  async change<T>(
    edit: Edit<T>,
    { dry_run, domain }: ChangeInput,
    onStage?: OnStage,
    { renamedTo = domain, ...options }: ChangeOptions = {},
  ): Promise<{ value: T; planned: DomainChangeDto }> {
    const described: Edit<DescribedChange<T>> = (draft) => {
      const present = dry_run ? tagOf(draft, domain) : undefined;
      const value = domain === undefined ? edit(draft) : editIfMatches(draft, domain, () => edit(draft));
      const before = formerValues(draft);
      const etag = dry_run ? present : tagOf(draft, renamedTo);
      return {
        value,
        fields: { ...(before && { before }), ...(etag !== undefined && { etag }) },
        changes: !draft.isEmpty,
      };
    };
    if (!dry_run) {
      const { value: committed, revision } = await this.commit(described, onStage, options);
      const { value, fields, changes } = committed;
      return { value, planned: { ...fields, ...(changes && { revision }) } };
    }
    const { value: planned, plan } = await this.preview(described);
    return { value: planned.value, planned: { dry_run, plan, ...planned.fields } };
  }

  /** Runs work while no commit is under way. Restores and reloads need this. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.exclusively(async () => {
      if (this.#adoptionPending) await this.#adopt();
      return work();
    });
  }

  /** The files whose content differs from the state. Call it within `exclusively`. */
  differingFiles(): Promise<FileDifference[]> {
    return this.store.findDifferences(this.#state);
  }

  /**
   * As `differingFiles`, after reading again which pools haproxy.cfg declares. Call it within `exclusively`.
   *
   * @throws the error of the file system if haproxy.cfg cannot be read
   */
  async recheckFiles(): Promise<FileDifference[]> {
    await this.store.readDeclaredPools();
    return this.differingFiles();
  }

  /** The files that `rewriteDerived` would write. Call it within `exclusively`. */
  async filesToRewrite(): Promise<FileDifference[]> {
    const { servers } = this.settings.files;
    const different = await this.recheckFiles();
    return different.filter(({ path, missing }) => path !== servers || missing);
  }

  /**
   * Rewrites the derived files that differ, and `servers.json` if it is missing, and returns which. It does not touch a
   * `servers.json` that an operator edited. Call it within `exclusively`.
   *
   * @throws AppError storage_failed
   */
  async rewriteDerived(): Promise<FileDifference[]> {
    const wanted = await this.filesToRewrite();
    const paths = new Set(wanted.map(({ path }) => path));
    try {
      if (paths.size > 0) await this.store.rewrite(this.#state, paths);
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
    return wanted;
  }

  /** Adopts what HAProxy has. Keeps copies of the replaced files with the suffix `.before-adoption`. */
  async #adopt(): Promise<void> {
    const storage = (error: unknown): never => {
      throw asStorageError(error, this.settings.home);
    };
    const state = await this.reconciler.adopt(this.store.mapText);
    this.store.keepMapEntries(this.reconciler.keptEntries);
    await this.store.backUpDifferingFiles(state, '.before-adoption').catch(storage);
    await this.store.checkpoint(state).catch(storage);
    await this.history.recordAdoption(state);
    this.#state = state;
    this.#adoptionPending = false;
    this.#hasAdopted = true;
  }

  /**
   * HAProxy does not answer, so nothing can be adopted yet. Creates only the missing files, because HAProxy needs them
   * to start. Existing files stay: rewriting them now would delete the domains of a HAProxy that is only unreachable.
   */
  async #adoptLater(error: unknown): Promise<void> {
    if (!(error instanceof AppError) || !error.code.startsWith('haproxy_')) throw error;
    this.#adoptionPending = true;
    this.#logger.warn(
      `There is no ${this.settings.files.servers}, and HAProxy cannot be read yet. The suite changes nothing until it can: ${error.detail}`,
    );
    const absent = (await this.differingFiles()).filter((file) => file.missing);
    const missing = new Set(absent.map(({ path }) => path));
    missing.delete(this.settings.files.servers);
    await this.store.rewrite(this.#state, missing);
  }

  /** How often the servers of this pool were declared as a whole since the start, also if that changed nothing. */
  declarations(pool: string): number {
    return this.#declarations.get(pool) ?? 0;
  }

  /** @throws AppError server_is_control, server_is_haproxy, validation_failed, forbidden, haproxy_unavailable, haproxy_rejected */
  #check(
    change: StateDelta,
    before: StateReader,
    { role, scope }: Pick<CallContext, 'role' | 'scope'>,
  ): void {
    if (scope) requireInScope(change, before, scope);
    this.guard.checkChange(change, before, scope);
    if (role !== 'admin') {
      refuseExternalPools(change, before, scope);
      refusePoolOptions(change, before);
    }
    refuseInvalidSites(change, before, scope);
    this.reconciler.refuseUnknownOptions(change, before);
  }

  async #commitGroup(edits: readonly PendingEdit[]): Promise<void> {
    if (this.#adoptionPending) await this.#adopt();
    const group = runEdits(edits, this.#state, (...change) => this.#check(...change));
    const reloaded = await this.#poolsToReload(group.draft);
    if (reloaded.length > 0 && (await this.#postpone(edits, group))) return;
    if (!group.draft.isEmpty) {
      try {
        await this.#write(group, reloaded, (stage) => {
          for (const { onStage } of edits) onStage?.(stage);
        });
      } catch (error) {
        await this.#handleFailure(edits, error);
        return;
      }
    }
    for (const pool of group.draft.declared) this.#declarations.set(pool, this.declarations(pool) + 1);
    group.settle();
  }

  /** If HAProxy refuses a group, commits each edit alone, so that only the refused edit fails. */
  async #handleFailure(edits: readonly PendingEdit[], error: unknown): Promise<void> {
    // HAProxy refuses the options of a pool as validation_failed.
    const isRejected =
      error instanceof AppError && ['haproxy_rejected', 'validation_failed'].includes(error.code);
    if (edits.length === 1 || !isRejected) {
      for (const pending of edits) pending.reject(error);
      return;
    }
    for (const pending of edits) await this.#commitGroup([pending]);
  }

  /** The pools of a change whose options only a reload brings into HAProxy. */
  async #poolsToReload(delta: StateDelta): Promise<string[]> {
    if (!this.reconciler.mayNeedReload(delta, this.#state)) return [];
    return (await this.reconciler.poolsThatNeedReload(this.#state))(delta);
  }

  /**
   * Lets the edits that need a reload wait for others, and commits the rest now. False if all of them have waited, so that
   * the group must be committed.
   */
  async #postpone(edits: readonly PendingEdit[], { changes }: EditGroup): Promise<boolean> {
    const poolsOf = await this.reconciler.poolsThatNeedReload(this.#state);
    const waiting = new Set(
      changes
        .filter(({ pending, own }) => !pending.mayReload && poolsOf(own).length > 0)
        .map(({ pending }) => pending),
    );
    if (waiting.size === 0) return false;
    this.#reloadWindow.add([...waiting]);
    const rest = edits.filter((pending) => !waiting.has(pending));
    if (rest.length > 0) await this.#commitGroup(rest);
    return true;
  }

  #requireReloader(): PoolsReloader {
    if (!this.#reloader) throw new Error('invariant: nothing can reload HAProxy');
    return this.#reloader;
  }

  /** `reloaded` are the pools that HAProxy gets with a reload. */
  async #write(
    { draft, revision, entries, history }: EditGroup,
    reloaded: readonly string[],
    onStage: OnStage,
  ): Promise<void> {
    const before = this.#state;
    const reloader = reloaded.length > 0 ? this.#requireReloader() : undefined;
    await reloader?.check(this.store.poolsText(draft, before));
    const storage = (error: unknown): never => {
      throw asStorageError(error, this.settings.home);
    };
    // Before the files: the record in the journal is the commit point, and a kill after it must not lose the lines.
    const lines = await stageAll([this.audit.stageLines(entries), this.history.stageEntries(history)]).catch(
      storage,
    );
    const reload = reloader && this.store.stageReload(draft, before, revision);
    const files: Promise<StagedWrite> = reload ?? this.store.stageCommit(draft, before, revision);
    const atRunTime = reloader ? beforeReload(draft, before, reloaded) : draft;
    const staged = await stageAll([files, Promise.resolve(lines)]).catch(storage);
    onStage('prepared');
    // Wait for the disk and for HAProxy at the same time.
    const [durable, applied] = await Promise.allSettled([
      staged.durable,
      this.reconciler.apply(atRunTime, before),
    ]);
    const failed = [applied, durable].find((one) => one.status === 'rejected');
    if (failed) {
      await this.#discard(staged);
      // Even if the files could not be restored: HAProxy must not keep a change that the answer refuses.
      if (applied.status === 'fulfilled') await this.#undoInHaproxy(atRunTime);
      throw applied.status === 'rejected'
        ? applied.reason
        : asStorageError(failed.reason, this.settings.home);
    }
    // servers.json is the commit point. Until it is written, a restart of the suite loads the former options again.
    try {
      await (await reload)?.useDerived();
      await reloader?.load(draft);
    } catch (error) {
      await this.#discard(staged);
      await this.#undoInHaproxy(atRunTime);
      storage(error);
    }
    onStage('applied');
    try {
      await staged.commit();
    } catch (error) {
      if (reloader) await this.#reloadFormer(staged, reloader);
      await this.#undoInHaproxy(atRunTime);
      storage(error);
    }
    onStage('written');
    const domains = touchedDomains(draft, before);
    before.apply(draft, revision);
    if (this.store.pendingRecords > 0) this.#checkpoints.onCommit(this.store.pendingRecords);
    this.feed.publish({ topic: 'routing', revision, domains });
    // The new worker has the files, so it serves the change. HaproxyWatchService repeats a restore that fails.
    await reloader
      ?.restore()
      .catch((error: unknown) =>
        this.#logger.error(`HAProxy was reloaded, but not restored yet: ${messageOf(error)}`),
      );
  }

  async #discard(staged: StagedWrite): Promise<void> {
    await staged.discard().catch((failure: unknown) => {
      this.#logger.error(
        `Not all files could be restored to revision ${this.#state.revision}: ${messageOf(failure)}`,
      );
    });
  }

  /** Takes back a change that HAProxy has loaded and that could not be committed. */
  async #reloadFormer(staged: StagedWrite, reloader: PoolsReloader): Promise<void> {
    await this.#discard(staged);
    try {
      await reloader.load();
      await reloader.restore();
    } catch (failure) {
      this.#logger.error(
        `HAProxy could not be reloaded with revision ${this.#state.revision}: ${messageOf(failure)}`,
      );
    }
  }

  /** Removes a change that cannot be committed from HAProxy. */
  async #undoInHaproxy(delta: StateDelta): Promise<void> {
    const before = this.#state;
    await this.reconciler.apply(inverse(delta, before), before).catch((failure: unknown) => {
      this.#logger.error(
        `HAProxy could not be restored to revision ${before.revision}: ${messageOf(failure)}`,
      );
    });
  }

  /** Folds the journal into `servers.json`. The last checkpoint, at close, leaves no empty journal. */
  async #checkpoint(isLast = false): Promise<void> {
    await this.#queue
      .exclusively(async () => {
        const { store } = this;
        if (store.pendingRecords > 0) await store.checkpoint(this.#state);
        if (isLast) store.removeEmptyJournal();
        else await store.startJournalEarly(this.#state);
      })
      .catch((error: unknown) => {
        this.#logger.warn(
          `${this.settings.files.servers} could not be updated. Nothing is lost: ${this.settings.files.journal} holds the later commits. ${messageOf(error)}`,
        );
        throw error;
      });
  }
}

function tagOf(state: StateReader, domain: string | undefined): string | undefined {
  return domain === undefined ? undefined : domainTag(state, domain);
}
