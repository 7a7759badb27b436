import { callContext, type CallContext } from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import type { Draft } from '../model/draft.js';

/**
 * Changes a draft of the state, or throws to refuse. It is synchronous, so that no other edit runs in between. It may
 * run more than once.
 */
export type Edit<T> = (draft: Draft) => T;

export interface Committed<T> {
  value: T;
  /** The revision that holds the edit. */
  revision: number;
}

/**
 * The stages of a commit. `prepared`: the new content is written, but not in effect. `applied`: HAProxy has the change,
 * and the new content is durable. `written`: the new content is in effect.
 */
export type CommitStage = 'prepared' | 'applied' | 'written';
export type OnStage = (stage: CommitStage) => void;

export interface CommitOptions {
  /** Commits the edit without others, so that its plan has no step of another edit. */
  alone?: boolean;
}

export interface PendingEdit {
  edit: Edit<unknown>;
  /** In a group of its own. */
  alone: boolean;
  /** It has waited for other edits that need a reload too. */
  mayReload: boolean;
  /** Called at each stage. If the group is retried one by one, the stages repeat. */
  onStage: OnStage | undefined;
  /** The caller that asked for the edit. */
  caller: CallContext;
  resolve(committed: Committed<unknown>): void;
  reject(error: unknown): void;
}

type QueueItem = { kind: 'edit'; pending: PendingEdit } | { kind: 'exclusive'; run: () => Promise<void> };

/** The most edits in one commit. With more, the first edit only waits longer for the last. */
const GROUP_LIMIT = 500;

/** The single writer: items run in order of arrival, and adjacent edits run as one group. */
export class WriterQueue {
  #items: QueueItem[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(private readonly commitGroup: (edits: readonly PendingEdit[]) => Promise<void>) {}

  push<T>(edit: Edit<T>, onStage?: OnStage, { alone = false }: CommitOptions = {}): Promise<Committed<T>> {
    return new Promise<Committed<T>>((resolve, reject) => {
      // The queue holds edits of every result type; each `resolve` gets only the result of its own edit.
      const settle = resolve as (committed: Committed<unknown>) => void;
      this.#enqueue(
        {
          kind: 'edit',
          pending: { edit, alone, mayReload: false, onStage, caller: callContext(), resolve: settle, reject },
        },
        reject,
      );
    });
  }

  /** Queues edits again that were pushed before and not settled. */
  pushAgain(edits: readonly PendingEdit[]): void {
    for (const pending of edits) this.#enqueue({ kind: 'edit', pending }, (error) => pending.reject(error));
  }

  /** Runs `work` while no commit is under way. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#enqueue({ kind: 'exclusive', run: () => work().then(resolve, reject) }, reject);
    });
  }

  /** Refuses new items, and resolves when the queued items are done. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  #enqueue(item: QueueItem, reject: (error: unknown) => void): void {
    if (this.#closed) {
      reject(new AppError('shutting_down', 'The suite is stopping. Repeat the request when it runs again.'));
      return;
    }
    this.#items.push(item);
    this.#running ??= this.#drain();
  }

  async #drain(): Promise<void> {
    // Edits that arrive in the same turn of the event loop belong to one group.
    await Promise.resolve();
    for (let item = this.#items[0]; item; item = this.#items[0]) {
      if (item.kind === 'exclusive') {
        this.#items.shift();
        await item.run();
        continue;
      }
      const group = this.#takeGroup();
      await this.commitGroup(group).catch((error: unknown) => {
        for (const pending of group) pending.reject(error);
      });
    }
    // Set in the turn that found the queue empty, so that an item that is pushed later starts `#drain` again.
    this.#running = undefined;
  }

  #takeGroup(): PendingEdit[] {
    const group: PendingEdit[] = [];
    for (const item of this.#items) {
      if (item.kind !== 'edit' || group.length === GROUP_LIMIT) break;
      if (item.pending.alone && group.length > 0) break;
      group.push(item.pending);
      if (item.pending.alone) break;
    }
    this.#items.splice(0, group.length);
    return group;
  }
}
