import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Injectable, Logger } from '@nestjs/common';
import pLimit from 'p-limit';
import { AuditRecorder } from '../audit/audit-recorder.js';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { callContext, runWithCallContext } from '../contract/call-context.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { Operation } from '../contract/operation.js';
import { internalError } from '../contract/problems/problem.filter.js';
import { storageError } from '../errors/storage-error.js';
import { Settings } from '../settings/settings.js';
import { OperationDto, OperationRefDto } from './jobs.dto.js';

/** Jobs that are kept after they end; the oldest is deleted first. */
const MAX_RECORDS = 200;
/** Progress messages that a record keeps; the oldest is deleted first. */
const MAX_PROGRESS = 50;

/** What a job gets from `JobsService.start`. */
export interface JobContext {
  /** Aborted when the job is cancelled or the suite stops. The job then stops early and throws. */
  signal: AbortSignal;
  /** Records a progress message, and sends it to the callers that wait. */
  progress: (message: string) => void;
}

interface JobSpec {
  /** The name of the operation without `haproxy_`. It is in the record and in the audit log. */
  kind: string;
  /** Identifies equal work of one kind. `start` joins a running job with this key. Default: unique. */
  key?: string;
  domain?: string;
  /** The arguments for the audit log, without secrets. */
  given?: Record<string, unknown>;
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

/**
 * Runs jobs: work that takes long and continues after the request. The record of a job can be read while it runs, after
 * it ends, and after a restart of the suite. In REST a job is an operation (`/api/v1/operations`).
 */
@Injectable()
export class JobsService {
  readonly #logger = new Logger('Jobs');
  readonly #path: string;
  readonly #running = new Map<string, RunningJob<object>>();
  readonly #records = new Map<string, OperationDto>();
  readonly #queue = pLimit(1);
  #stopping = false;

  constructor(
    settings: Settings,
    private readonly audit: AuditRecorder,
  ) {
    this.#path = settings.files.operations;
  }

  /**
   * Reads the records, and marks records of running jobs as interrupted. A file that cannot be read is replaced.
   *
   * @throws AppError storage_failed
   */
  async open(): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true });
    try {
      const text = await readFile(this.#path, 'utf8');
      const { operations } = JSON.parse(text) as { operations: OperationDto[] };
      for (const record of operations) this.#records.set(record.id, record);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#logger.warn(
          `${this.#path} cannot be read and is replaced by an empty file: ${messageOf(error)}`,
        );
    }
    for (const record of this.#records.values()) if (record.status === 'running') interrupt(record);
    await this.#save();
  }

  /** Cancels all running jobs, marks their records as interrupted, and waits until the file is written. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const running of this.#running.values()) running.cancel();
    await Promise.allSettled([...this.#running.values()].map((running) => running.wait()));
    await this.#queue(() => Promise.resolve());
  }

  @Operation({
    name: 'haproxy_get_operation',
    title: 'Get an operation',
    description:
      'Returns the progress and the result of a request that was answered with 202. The last 200 operations are kept.',
    output: OperationDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
    errors: ['not_found'],
  })
  get({ id }: OperationRefDto): Promise<OperationDto> {
    const record = this.#records.get(id);
    if (record) return Promise.resolve({ ...record });
    return Promise.reject(
      new AppError(
        'not_found',
        `There is no operation ${id}. The suite keeps the last ${MAX_RECORDS}. Repeat the request.`,
      ),
    );
  }

  /**
   * Starts `work` as a job of the current caller, or joins the running job with the same kind and key. The job continues
   * after the call returns.
   *
   * @throws AppError shutting_down
   */
  start<T extends object>(spec: JobSpec, work: (job: JobContext) => Promise<T>): RunningJob<T> {
    const id = randomUUID();
    const key = `${spec.kind} ${spec.key ?? id}`;
    const same = this.#running.get(key);
    // Jobs with the same key have the same type of result.
    if (same && !same.signal.aborted) return same as RunningJob<T>;
    if (this.#stopping)
      throw new AppError(
        'shutting_down',
        'The suite is stopping and starts no operation. Try again when it runs again.',
      );
    const record: OperationDto = {
      id,
      kind: spec.kind,
      ...(spec.domain !== undefined && { domain: spec.domain }),
      status: 'running',
      started_at: new Date().toISOString(),
      progress: [],
    };
    const running = new RunningJob<T>(record);
    this.#records.set(record.id, record);
    this.#running.set(key, running);
    const { actor, via, role } = callContext();
    const silent = { progress: () => undefined, log: () => undefined };
    const context = { actor, via, role, signal: () => running.signal, ...silent };
    running
      .begin((job) =>
        runWithCallContext(context, () =>
          this.#runAndRecord(record, key, running, async () => {
            await this.#save();
            const name = `haproxy_${spec.kind}`;
            return this.audit.record(name, spec.given ?? {}, () => work(job));
          }),
        ),
      )
      .catch(() => undefined);
    return running;
  }

  /** Runs `work`, and writes its result or error to the record. */
  async #runAndRecord<T extends object>(
    record: OperationDto,
    key: string,
    running: RunningJob<T>,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      const value = await work();
      record.result = value;
      record.status = 'succeeded';
      return value;
    } catch (error) {
      const known = error instanceof AppError ? error : internalError(error);
      if (known !== error)
        this.#logger.error(known.detail, error instanceof Error ? error.stack : String(error));
      if (this.#stopping && running.signal.aborted) interrupt(record);
      else {
        record.status = 'failed';
        record.error = known.toProblem();
      }
      throw known;
    } finally {
      record.finished_at = new Date().toISOString();
      if (this.#running.get(key) === running) this.#running.delete(key);
      await this.#save().catch((error: unknown) =>
        this.#logger.error(`${this.#path} could not be written: ${messageOf(error)}`),
      );
    }
  }

  #save(): Promise<void> {
    for (const id of this.#records.keys()) {
      if (this.#records.size <= MAX_RECORDS) break;
      if (this.#records.get(id)?.status !== 'running') this.#records.delete(id);
    }
    return this.#queue(() =>
      writeFileAtomic(
        this.#path,
        `${JSON.stringify({ operations: [...this.#records.values()] })}\n`,
        0o600,
      ).catch((error: unknown) => {
        throw storageError(error);
      }),
    );
  }
}

function interrupt(record: OperationDto): void {
  record.status = 'interrupted';
  record.finished_at ??= new Date().toISOString();
  record.error = new AppError(
    'shutting_down',
    'The suite stopped before the operation ended, so its result is unknown. No change is incomplete. Repeat the request.',
  ).toProblem();
}
