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

/** Finished operations that are kept to be asked about. */
const KEPT = 200;
const PROGRESS_KEPT = 50;

export interface JobWork {
  signal: AbortSignal;
  progress: (message: string) => void;
}

/** Long work that is going on, and those who wait for it. */
export class RunningJob<T extends object> {
  readonly #abort = new AbortController();
  readonly #listeners = new Set<(step: number, message: string) => void>();
  #holders = 0;
  #steps = 0;
  #done: Promise<T> | undefined;

  constructor(readonly record: OperationDto) {}

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  begin(work: (work: JobWork) => Promise<T>): Promise<T> {
    this.#done = work({ signal: this.signal, progress: (message) => this.#progress(message) });
    // It may fail with nobody waiting; the record tells.
    this.#done.catch(() => undefined);
    return this.#done;
  }

  /** It goes on whether or not anybody waits. */
  hold(): void {
    this.#holders += 1;
  }

  cancel(): void {
    this.#abort.abort();
  }

  /** The result, for the caller of now, who is told the progress; the last caller to leave ends the work. */
  async wait(): Promise<T> {
    const { signal: signalOf, progress } = callContext();
    const signal = signalOf();
    const listener = (step: number, message: string) => progress(step, undefined, message);
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
      return await (this.#done as Promise<T>);
    } finally {
      signal.removeEventListener('abort', leave);
      this.#listeners.delete(listener);
    }
  }

  #progress(message: string): void {
    this.#steps += 1;
    this.record.progress = [...this.record.progress, { at: new Date().toISOString(), message }].slice(
      -PROGRESS_KEPT,
    );
    for (const listener of this.#listeners) listener(this.#steps, message);
  }
}

/** Long work: can be asked about while it runs, after it, and after a restart. The same work asked for twice is one. */
@Injectable()
export class JobsService {
  readonly #logger = new Logger('Operations');
  readonly #path: string;
  readonly #running = new Map<string, RunningJob<object>>();
  readonly #records = new Map<string, OperationDto>();
  readonly #queue = pLimit(1);
  #stopping = false;

  constructor(
    settings: Settings,
    private readonly changes: AuditRecorder,
  ) {
    this.#path = settings.files.operations;
  }

  /** What was running when the suite last ended is interrupted. A file that cannot be read is begun anew. */
  async open(): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true });
    try {
      const text = await readFile(this.#path, 'utf8');
      const { operations } = JSON.parse(text) as { operations: OperationDto[] };
      for (const record of operations) this.#records.set(record.id, record);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#logger.warn(`${this.#path} is not readable and is begun anew: ${messageOf(error)}`);
    }
    for (const record of this.#records.values()) if (record.status === 'running') interrupt(record);
    await this.#save();
  }

  /** Ends what is running; it can be asked about as interrupted later. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const running of this.#running.values()) running.cancel();
    await Promise.allSettled([...this.#running.values()].map((running) => running.wait()));
    await this.#queue(() => Promise.resolve());
  }

  @Operation({
    name: 'haproxy_get_operation',
    title: 'Look at long work',
    description:
      'Tells how far a request is that was answered with 202, and what came of it. Records are kept for the last 200.',
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
        `There is no operation ${id}. The last ${KEPT} are kept; repeat the request.`,
      ),
    );
  }

  /**
   * Begins `work`, or joins the work of this key that is going on; without a key it is always begun. It does not end
   * with the call that began it; what it does is done in the name of that caller.
   *
   * @throws AppError shutting_down
   */
  start<T extends object>(
    spec: { kind: string; key?: string; domain?: string; given?: Record<string, unknown> },
    work: (work: JobWork) => Promise<T>,
  ): RunningJob<T> {
    const id = randomUUID();
    const key = `${spec.kind} ${spec.key ?? id}`;
    const known = this.#running.get(key);
    // One key has one kind of work, and so one type of result.
    if (known && !known.signal.aborted) return known as RunningJob<T>;
    if (this.#stopping)
      throw new AppError('shutting_down', 'The suite is stopping. Try again when it is back.');
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
    const { actor, via } = callContext();
    const quiet = { progress: () => undefined, log: () => undefined };
    const context = { actor, via, signal: () => running.signal, ...quiet };
    running
      .begin((tools) =>
        runWithCallContext(context, () =>
          this.#finish(record, key, running, async () => {
            await this.#save();
            const name = `haproxy_${spec.kind}`;
            return this.changes.record(name, spec.given ?? {}, () => work(tools));
          }),
        ),
      )
      .catch(() => undefined);
    return running;
  }

  async #finish<T extends object>(
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
      if (this.#records.size <= KEPT) break;
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
  const why =
    'The suite stopped before this was known to be done (interrupted). Nothing is half done: repeat the request.';
  record.status = 'interrupted';
  record.finished_at ??= new Date().toISOString();
  record.error = new AppError('shutting_down', why).toProblem();
}
