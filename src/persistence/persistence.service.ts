import { Injectable, Logger } from '@nestjs/common';
import { EventFeed } from '../signals/event-feed.js';
import type { DryRunDto, PlannedDto, PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import { Settings } from '../settings/settings.js';
import { AuditLog } from '../storage/audit-log.js';
import { type EditGroup, groupOf } from './edit-group.js';
import { CheckpointTimer } from './checkpoint-timer.js';
import { OwnerLock } from '../storage/owner-lock.js';
import { describeSteps } from '../contract/dry-run/describe-plan.js';
import { preparedTogether } from '../storage/files/prepared.js';
import type { RoutingTarget } from './routing-target.js';
import { inverse, touchedDomains } from '../model/state-delta.js';
import type { FileDifference } from '../storage/files/state-files.js';
import { StateStore } from '../storage/state-store.js';
import { asStorageError } from '../errors/storage-error.js';
import { Draft, State } from '../model/state.js';
import { WriterQueue, type Change, type Committed, type OnStage, type PendingEdit } from './writer-queue.js';

/**
 * Owns the desired state: the file that is the source of truth, the files derived from it, and the order in which
 * changes happen. One writer; changes that wait together are written together (group commit).
 */
@Injectable()
export class PersistenceService {
  readonly #logger = new Logger('Persistence');
  readonly #checkpoints: CheckpointTimer;
  readonly #lock: OwnerLock;
  readonly #queue: WriterQueue;
  #state = new State(0);
  /** There is no `servers.json`, and it is not known yet what HAProxy has. */
  #unadopted = false;
  #target: RoutingTarget | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly audit: AuditLog,
    private readonly store: StateStore,
    private readonly feed: EventFeed = new EventFeed(),
  ) {
    this.#lock = new OwnerLock(settings.home, settings.files.lock);
    this.#queue = new WriterQueue((changes) => this.#commitTogether(changes));
    this.#checkpoints = new CheckpointTimer(() => this.#checkpoint());
  }

  /** The committed state. Read it within one tick: the next commit changes it in place. */
  get state(): State {
    return this.#state;
  }

  bindTarget(target: RoutingTarget): void {
    this.#target = target;
    this.store.bindTarget(target);
  }

  /**
   * Takes the lock, reads `servers.json` and rewrites the files derived from it where they differ. Where there is no
   * `servers.json`, what HAProxy has becomes the state (RoutingTarget.adopt).
   *
   * @throws OwnedByAnotherError, StateFileError, or AppError storage_failed
   */
  async open(): Promise<void> {
    try {
      await this.#lock.acquire();
      const state = await this.store.open();
      if (state) this.#state = state;
      await this.audit.open(this.#state.revision);
      await this.#target?.prepare?.();
      if (state) {
        await this.store.checkpoint(state);
        await this.store.beginAhead(state);
      } else await this.#adopt().catch((error: unknown) => this.#adoptLater(error));
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
    // Sorted now, so that nobody waits for it with the first list.
    this.#state.sortedDomains();
    this.#state.sortedPools();
    this.#logger.log(
      `revision ${this.#state.revision}: ${this.#state.domainCount} domains in ${this.#state.pools.size} pools, from ${this.settings.files.servers}`,
    );
  }

  /** Finishes what is queued, refuses the rest and gives the lock back. */
  async close(): Promise<void> {
    this.#checkpoints.stop();
    const last = this.#checkpoint(true).catch(() => undefined);
    await this.#queue.close();
    await last;
    await this.#lock.release();
  }

  /**
   * Runs `change` on a draft of the latest state and makes what it did durable and live. `change` throws to refuse;
   * then, and after any failure, files and HAProxy are as before. A change that changes nothing costs nothing.
   *
   * @throws what `change` throws; AppError storage_failed, haproxy_rejected, haproxy_unavailable, shutting_down
   */
  commit<T>(change: Change<T>, onStage?: OnStage): Promise<Committed<T>> {
    return metrics.change(this.#queue.push(change, onStage));
  }

  /**
   * What `commit` would give and do now, doing nothing: no file, no command to HAProxy, no revision. It waits for no
   * change under way; what is not committed yet does not count.
   *
   * @throws what `change` throws; AppError haproxy_unavailable, haproxy_rejected
   */
  async preview<T>(change: Change<T>): Promise<{ value: T; plan: PlanStepDto[] }> {
    if (this.#unadopted) await this.exclusively(() => Promise.resolve());
    const before = this.#state;
    const draft = new Draft(before);
    const value = change(draft);
    if (draft.isEmpty) return { value, plan: [] };
    const files = this.store.describe(draft, before);
    const steps = await this.#boundTarget().preview(draft, before);
    return { value, plan: [...describeSteps(steps), ...files] };
  }

  /** `commit`, or with `dry_run` only `preview`; `planned` is then what the answer says besides. */
  async change<T>(
    change: Change<T>,
    { dry_run }: DryRunDto,
    onStage?: OnStage,
  ): Promise<{ value: T; planned: PlannedDto }> {
    if (!dry_run) return { value: (await this.commit(change, onStage)).value, planned: {} };
    const { value, plan } = await this.preview(change);
    return { value, planned: { dry_run, plan } };
  }

  /** Runs work while no change is under way: a restore or a reload must not meet a commit half-way. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.exclusively(async () => {
      if (this.#unadopted) await this.#adopt();
      return work();
    });
  }

  /** The files that do not hold what the state says. Call it with no change under way (`exclusively`). */
  async differingFiles(): Promise<FileDifference[]> {
    return this.store.differences(this.#state);
  }

  /** Those of them that `rewriteDerived` would write. Call it with no change under way (`exclusively`). */
  async filesToRewrite(): Promise<FileDifference[]> {
    const { servers } = this.settings.files;
    const different = await this.differingFiles();
    return different.filter(({ path, missing }) => path !== servers || missing);
  }

  /**
   * Writes the derived files anew where they differ, and `servers.json` where it is gone; one that somebody edited
   * is left for its editor to see. Tells which. Call it with no change under way (`exclusively`).
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

  /** What is there becomes the state. Files that are replaced by it are kept beside it, because it is a first time. */
  async #adopt(): Promise<void> {
    const storage = (error: unknown): never => {
      throw asStorageError(error, this.settings.home);
    };
    const state = (await this.#target?.adopt?.(this.store.mapText)) ?? new State(0);
    await this.store.keepOthers(state, '.before-adoption').catch(storage);
    await this.store.checkpoint(state).catch(storage);
    this.#state = state;
    this.#unadopted = false;
  }

  /**
   * HAProxy needs its files to start, so those that are missing are made; what exists stays as it is until it is
   * known what HAProxy has, or a HAProxy that is only out of reach would be emptied.
   */
  async #adoptLater(error: unknown): Promise<void> {
    if (!(error instanceof AppError) || !error.code.startsWith('haproxy_')) throw error;
    this.#unadopted = true;
    this.#logger.warn(
      `There is no ${this.settings.files.servers}, and what HAProxy has cannot be read yet; nothing is changed until it can: ${error.detail}`,
    );
    const gone = (await this.differingFiles()).filter((file) => file.missing);
    const missing = new Set(gone.map(({ path }) => path));
    missing.delete(this.settings.files.servers);
    await this.store.rewrite(this.#state, missing);
  }

  async #commitTogether(changes: readonly PendingEdit[]): Promise<void> {
    if (this.#unadopted) await this.#adopt();
    const group = groupOf(changes, this.#state);
    if (!group.draft.isEmpty) {
      try {
        await this.#write(group, (stage) => {
          for (const { onStage } of changes) onStage?.(stage);
        });
      } catch (error) {
        await this.#failed(changes, error);
        return;
      }
    }
    group.settle();
  }

  /** One refused change must not take those down that only waited beside it: each then goes alone. */
  async #failed(changes: readonly PendingEdit[], error: unknown): Promise<void> {
    const refused = error instanceof AppError && error.code === 'haproxy_rejected';
    if (changes.length === 1 || !refused) {
      for (const pending of changes) pending.reject(error);
      return;
    }
    for (const pending of changes) await this.#commitTogether([pending]);
  }

  async #write({ draft, revision, entries }: EditGroup, tell: OnStage): Promise<void> {
    const target = this.#boundTarget();
    const before = this.#state;
    const storage = (error: unknown): never => {
      throw asStorageError(error, this.settings.home);
    };
    const parts = [this.store.prepare(draft, before, revision), this.audit.prepare(entries)];
    const prepared = await preparedTogether(parts).catch(storage);
    tell('prepared');
    // What waits for the disk and what waits for HAProxy, at the same time.
    const [durable, applied] = await Promise.allSettled([prepared.durable, target.apply(draft, before)]);
    const broken = [applied, durable].find((one) => one.status === 'rejected');
    if (broken) {
      await prepared.discard().catch((failure: unknown) => {
        this.#logger.error(
          `The files of revision ${before.revision} are not all back: ${messageOf(failure)}`,
        );
      });
      // Whatever became of the files: a disk that fails is no reason to leave HAProxy with a change that was refused.
      if (applied.status === 'fulfilled') await this.#takeBack(draft);
      throw applied.status === 'rejected'
        ? applied.reason
        : asStorageError(broken.reason, this.settings.home);
    }
    tell('applied');
    try {
      await prepared.commit();
    } catch (error) {
      await this.#takeBack(draft);
      storage(error);
    }
    tell('written');
    const domains = touchedDomains(draft, before);
    before.fold(draft, revision);
    if (this.store.behind > 0) this.#checkpoints.touch(this.store.behind);
    this.feed.publish({ topic: 'routing', revision, domains });
  }

  /** Takes a change back out of HAProxy that is not committed after all. */
  async #takeBack(draft: Draft): Promise<void> {
    const before = this.#state;
    await this.#boundTarget()
      .apply(inverse(draft, before), before)
      .catch((failure: unknown) => {
        this.#logger.error(
          `HAProxy could not be put back to revision ${before.revision}: ${messageOf(failure)}`,
        );
      });
  }

  /** Brings `servers.json` up to date where only the journal has what was committed; the last time, leaves no journal. */
  async #checkpoint(isLast = false): Promise<void> {
    await this.#queue
      .exclusively(async () => {
        const { store } = this;
        if (store.behind > 0) await store.checkpoint(this.#state);
        if (isLast) store.endEmptyJournal();
        else await store.beginAhead(this.#state);
      })
      .catch((error: unknown) => {
        this.#logger.warn(
          `${this.settings.files.servers} could not be brought up to date; ${this.settings.files.journal} has the rest: ${messageOf(error)}`,
        );
        throw error;
      });
  }

  #boundTarget(): RoutingTarget {
    if (!this.#target) throw new Error('PersistenceService has no target yet');
    return this.#target;
  }
}
