import { callContext } from '../contract/call-context.js';
import type { OperationDto } from './jobs.dto.js';

/** Progress messages that a record keeps; the oldest is deleted first. */
const MAX_PROGRESS = 50;

/** What a job gets from `JobsService.start`. */
export interface JobContext {
  /** Aborted when the job is cancelled or the suite stops. The job then stops early and throws. */
  signal: AbortSignal;
  /** Records a progress message, and sends it to the callers that wait. */
  progress: (message: string) => void;
}

type ProgressListener = (step: number, message: string) => void;

/** A job that runs, and its callers. */
export class RunningJob<T extends object> {
  readonly #abort = new AbortController();
  readonly #listeners = new Set<ProgressListener>();
  /** Callers that need the result. The job is cancelled when the last one leaves. */
  #holders = 0;
  #steps = 0;
  #result: Promise<T> | undefined;

  constructor(readonly record: OperationDto) {}

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  begin(work: (job: JobContext) => Promise<T>): Promise<T> {
    this.#result = work({ signal: this.signal, progress: (message) => this.#progress(message) });
    // The job may fail while no caller waits. The record keeps the error.
    this.#result.catch(() => undefined);
    return this.#result;
  }

  /** Lets the job run to its end, even if no caller waits. */
  hold(): void {
    this.#holders += 1;
  }

  /** Resolves when the job has ended or failed. Does not hold the job. */
  async ended(): Promise<void> {
    await this.#result?.catch(() => undefined);
  }

  cancel(): void {
    this.#abort.abort();
  }

  /**
   * Waits for the result and sends progress to the current caller (`callContext`). If the caller cancels, it leaves the
   * job.
   *
   * @throws the error of the job
   */
  async wait(): Promise<T> {
    const { signal: callerSignal, progress } = callContext();
    const signal = callerSignal();
    const listener: ProgressListener = (step, message) => progress(step, undefined, message);
    const leave = () => {
      this.#listeners.delete(listener);
      this.#holders -= 1;
      if (this.#holders === 0) this.cancel();
    };
    this.#holders += 1;
    this.#listeners.add(listener);
    signal.addEventListener('abort', leave);
    try {
      if (signal.aborted) leave();
      return await (this.#result as Promise<T>);
    } finally {
      signal.removeEventListener('abort', leave);
      this.#listeners.delete(listener);
    }
  }

  #progress(message: string): void {
    this.#steps += 1;
    this.record.progress = [...this.record.progress, { at: new Date().toISOString(), message }].slice(
      -MAX_PROGRESS,
    );
    for (const listener of this.#listeners) listener(this.#steps, message);
  }
}
