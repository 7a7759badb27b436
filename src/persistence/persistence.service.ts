import { Injectable, Logger } from '@nestjs/common';
import { writeFileAtomic } from '../common/atomic-file.js';
import { ChangeFeed } from '../common/change-feed.js';
import type { DryRunDto, PlannedDto, PlanStepDto } from '../common/dry-run.dto.js';
import { AppError, messageOf } from '../common/errors.js';
import { metrics } from '../common/metrics.js';
import { Settings } from '../settings/settings.js';
import { type AuditEntry, AuditLog, entryOf } from './audit-log.js';
import { renderMap } from './domains-map.js';
import { OwnerLock } from './owner-lock.js';
import { describeFile, describeStep } from './plan-words.js';
import { preparedTogether } from './prepared.js';
import type { RoutingTarget } from './routing-target.js';
import { inOrder, inverse, poolsWith, touchedDomains } from './state-changes.js';
import { parseState, renderState } from './state-json.js';
import { type FileDifference, StateFiles, type FileText } from './state-files.js';
import { asStorageError } from './storage-error.js';
import { Draft, State, type Pool } from './state.js';
import {
  WriterQueue,
  type Change,
  type Committed,
  type OnStage,
  type PendingChange,
} from './writer-queue.js';

/**
 * Owns the desired state: the file that is the source of truth, the files derived from it, and the order in which
 * changes happen. One writer; changes that wait together are written together (group commit).
 */
@Injectable()
export class PersistenceService {
  readonly #logger = new Logger('Persistence');
  readonly #files = new StateFiles();
  readonly #lock: OwnerLock;
  readonly #queue: WriterQueue;
  #state = new State(0);
  /** There is no `servers.json`, and it is not known yet what HAProxy has. */
  #unadopted = false;
  #target: RoutingTarget | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly audit: AuditLog,
    private readonly feed: ChangeFeed = new ChangeFeed(),
  ) {
    this.#lock = new OwnerLock(settings.home, settings.files.lock);
    this.#queue = new WriterQueue((changes) => this.#commitTogether(changes));
  }

  /** The committed state. Read it within one tick: the next commit changes it in place. */
  get state(): State {
    return this.#state;
  }

  bindTarget(target: RoutingTarget): void {
    this.#target = target;
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
      const { servers, map, pools } = this.settings.files;
      await this.#files.prepareFolders([servers, map, pools]);
      const text = await this.#files.read(servers);
      if (text !== undefined) this.#state = parseState(text, servers);
      await this.audit.open(this.#state.revision);
      for (const path of [map, pools]) await this.#files.read(path);
      await this.#target?.prepare?.();
      if (text === undefined) await this.#adopt().catch((error: unknown) => this.#adoptLater(error));
      else await this.#writeFiles(this.#renderAll());
    } catch (error) {
      throw asStorageError(error, this.settings.home);
    }
    // Sorted now, so that nobody waits for it with the first list.
    this.#state.sortedDomains();
    this.#logger.log(
      `revision ${this.#state.revision}: ${this.#state.domainCount} domains in ${this.#state.pools.size} pools, from ${this.settings.files.servers}`,
    );
  }

  /** Finishes what is queued, refuses the rest and gives the lock back. */
  async close(): Promise<void> {
    await this.#queue.close();
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
    const files = this.#render(before.revision + 1, poolsWith(draft, before));
    const steps = await this.#boundTarget().preview(draft, before);
    const written = files.map(({ path, text }) => describeFile(path, this.#files.held(path), text));
    return { value, plan: [...steps.map(describeStep), ...written.filter((step) => step !== undefined)] };
  }

  /** `commit`, or with `dry_run` only `preview`; `planned` is then what the answer says besides. */
  async change<T>(change: Change<T>, { dry_run }: DryRunDto): Promise<{ value: T; planned: PlannedDto }> {
    if (!dry_run) return { value: (await this.commit(change)).value, planned: {} };
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
    return this.#files.differences(this.#renderAll());
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
      for (const path of paths) await this.#files.read(path);
      await this.#writeFiles(this.#renderAll().filter(({ path }) => paths.has(path)));
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
    const { map, pools } = this.settings.files;
    const texts = new Map<string, string | undefined>();
    for (const path of [map, pools]) texts.set(path, await this.#files.read(path));
    const state = (await this.#target?.adopt?.(texts.get(map))) ?? new State(0);
    const files = this.#render(state.revision, state.pools);
    for (const { path, text } of files) {
      const before = texts.get(path);
      if (before && before !== text) await writeFileAtomic(`${path}.before-adoption`, before).catch(storage);
    }
    await this.#writeFiles(files).catch(storage);
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
    await this.#writeFiles(this.#renderAll().filter(({ path }) => missing.has(path)));
  }

  async #commitTogether(changes: readonly PendingChange[]): Promise<void> {
    if (this.#unadopted) await this.#adopt();
    const draft = new Draft(this.#state);
    const settle: (() => void)[] = [];
    const entries: AuditEntry[] = [];
    let { revision } = this.#state;
    for (const pending of changes) {
      const own = new Draft(draft);
      try {
        const value = pending.change(own);
        if (!own.isEmpty) {
          const { caller } = pending;
          const operation = caller.change?.operation ?? 'internal';
          entries.push(entryOf(caller, operation, revision, revision + 1, 'ok'));
          settle.push(() => void (caller.change && (caller.change.saved = true)));
          revision += 1;
        }
        draft.merge(own);
        const committed = { value, revision };
        settle.push(() => pending.resolve(committed));
      } catch (error) {
        settle.push(() => pending.reject(error));
      }
    }
    if (!draft.isEmpty) {
      try {
        await this.#write(draft, revision, entries, (stage) => {
          for (const { onStage } of changes) onStage?.(stage);
        });
      } catch (error) {
        await this.#failed(changes, error);
        return;
      }
    }
    for (const done of settle) done();
  }

  /** One refused change must not take those down that only waited beside it: each then goes alone. */
  async #failed(changes: readonly PendingChange[], error: unknown): Promise<void> {
    const refused = error instanceof AppError && error.code === 'haproxy_rejected';
    if (changes.length === 1 || !refused) {
      for (const pending of changes) pending.reject(error);
      return;
    }
    for (const pending of changes) await this.#commitTogether([pending]);
  }

  async #write(draft: Draft, revision: number, entries: readonly AuditEntry[], tell: OnStage): Promise<void> {
    const target = this.#boundTarget();
    const before = this.#state;
    const files = this.#render(revision, poolsWith(draft, before));
    const storage = (error: unknown): never => {
      throw asStorageError(error, this.settings.home);
    };
    const parts = [this.#files.prepare(files), this.audit.prepare(entries)];
    const prepared = await preparedTogether(parts).catch(storage);
    tell('prepared');
    try {
      await target.apply(draft, before);
      tell('applied');
    } catch (error) {
      await prepared.discard();
      throw error;
    }
    try {
      await prepared.commit();
    } catch (error) {
      await target.apply(inverse(draft, before), before).catch((failure: unknown) => {
        this.#logger.error(
          `HAProxy could not be put back to revision ${before.revision}: ${messageOf(failure)}`,
        );
      });
      storage(error);
    }
    tell('written');
    const domains = touchedDomains(draft, before);
    before.fold(draft, revision);
    this.feed.tell({ topic: 'routing', revision, domains });
  }

  async #writeFiles(files: readonly FileText[]): Promise<void> {
    await (await this.#files.prepare(files)).commit();
  }

  #renderAll(): FileText[] {
    return this.#render(this.#state.revision, this.#state.pools);
  }

  /** The commit point comes last: what is derived from it is in place before it counts. */
  #render(revision: number, pools: ReadonlyMap<string, Pool>): FileText[] {
    const { servers, map, pools: poolsFile } = this.settings.files;
    const ordered = inOrder(pools);
    return [
      { path: poolsFile, text: this.#boundTarget().renderPools(pools) },
      { path: map, text: renderMap(ordered) },
      { path: servers, text: renderState(revision, ordered) },
    ];
  }

  #boundTarget(): RoutingTarget {
    if (!this.#target) throw new Error('PersistenceService has no target yet');
    return this.#target;
  }
}
