import { callContext, type CallContext } from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import type { Draft } from '../model/state.js';

/** Decides on a draft what the state should be; throws to refuse. Synchronous, so that nothing comes in between. */
export type Change<T> = (draft: Draft) => T;

export interface Committed<T> {
  value: T;
  /** The revision that holds the change. */
  revision: number;
}

/** How far a commit is: its files are safely on disk beside their targets, HAProxy has it, the files are in place. */
export type CommitStage = 'prepared' | 'applied' | 'written';
export type OnStage = (stage: CommitStage) => void;

export interface PendingEdit {
  change: Change<unknown>;
  /** Told how far it is; after a refusal of others in its group once more from the beginning. */
  onStage: OnStage | undefined;
  /** Who asked for it. */
  caller: CallContext;
  resolve(committed: Committed<unknown>): void;
  reject(error: unknown): void;
}

type Job = { kind: 'change'; pending: PendingEdit } | { kind: 'exclusive'; run: () => Promise<void> };

/** More than this in one commit only makes the first of them wait for the last. */
const GROUP_LIMIT = 500;

/** One writer: jobs run in the order they came, and changes that stand next to each other run as one group. */
export class WriterQueue {
  #jobs: Job[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(private readonly commitTogether: (changes: readonly PendingEdit[]) => Promise<void>) {}

  push<T>(change: Change<T>, onStage?: OnStage): Promise<Committed<T>> {
    return new Promise<Committed<T>>((resolve, reject) => {
      // The queue holds changes of every result type; each one's own resolve is only ever given its own result.
      const settle = resolve as (committed: Committed<unknown>) => void;
      this.#enqueue(
        { kind: 'change', pending: { change, onStage, caller: callContext(), resolve: settle, reject } },
        reject,
      );
    });
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#enqueue({ kind: 'exclusive', run: () => work().then(resolve, reject) }, reject);
    });
  }

  /** Resolves when all that was queued is done; what comes later is refused. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  #enqueue(job: Job, reject: (error: unknown) => void): void {
    if (this.#closed) {
      reject(new AppError('shutting_down', 'The suite is stopping; repeat the request when it is back.'));
      return;
    }
    this.#jobs.push(job);
    this.#running ??= this.#drain();
  }

  async #drain(): Promise<void> {
    // Changes that arrive in the same turn of the event loop are to be in the first group together.
    await Promise.resolve();
    for (let job = this.#jobs[0]; job; job = this.#jobs[0]) {
      if (job.kind === 'exclusive') {
        this.#jobs.shift();
        await job.run();
        continue;
      }
      const group = this.#takeGroup();
      await this.commitTogether(group).catch((error: unknown) => {
        for (const pending of group) pending.reject(error);
      });
    }
    // In the same turn as the look that found no job, so that none can slip in between and wait for ever.
    this.#running = undefined;
  }

  #takeGroup(): PendingEdit[] {
    const group: PendingEdit[] = [];
    for (const job of this.#jobs) {
      if (job.kind !== 'change' || group.length === GROUP_LIMIT) break;
      group.push(job.pending);
    }
    this.#jobs.splice(0, group.length);
    return group;
  }
}
