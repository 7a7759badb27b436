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
import { paginate } from '../contract/pages/page.js';
import { internalError } from '../contract/problems/problem.filter.js';
import { storageError } from '../errors/storage-error.js';
import { Settings } from '../settings/settings.js';
import {
  ListOperationsDto,
  OperationDto,
  OperationListDto,
  OperationRefDto,
  type OperationSummaryDto,
} from './jobs.dto.js';
import { type JobContext, RunningJob } from './running-job.js';

/** Jobs that are kept after they end; the oldest is deleted first. */
const MAX_RECORDS = 200;
/** Waiting calls that are kept after they end, and how long a call must have waited for that. */
const MAX_FOLLOWED = 50;
const SHORT_MS = 1_000;

interface JobSpec {
  /** The name of the operation without `haproxy_`. It is in the record and in the audit log. */
  kind: string;
  /** Identifies equal work of one kind. `start` joins a running job with this key. Default: unique. */
  key?: string;
  domain?: string;
  /** The arguments for the audit log, without secrets. */
  given?: Record<string, unknown>;
}

/** What an interrupted job has left, and what to call, as sentences. */
type DescribeLeft = (given: Readonly<Record<string, unknown>>) => string;

const NOTHING_LEFT = 'Its result is unknown. No change is incomplete. Repeat the request.';

/** The content of the file. */
interface SavedRecords {
  operations: OperationDto[];
  /** The callers that each belongs to, by its id. Absent in files of earlier versions. */
  owners?: Readonly<Record<string, readonly string[]>>;
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
  /** Calls that wait, by id. */
  readonly #followed = new Map<string, OperationDto>();
  /** The callers that a record belongs to (`ownerOf`), by its id. Records of the suite itself and of earlier versions have none. */
  readonly #owners = new Map<string, Set<string>>();
  readonly #queue = pLimit(1);
  /** For kinds of jobs that consist of several changes. */
  readonly #describeLeft = new Map<string, DescribeLeft>();
  #stopping = false;

  constructor(
    settings: Settings,
    private readonly audit: AuditRecorder,
  ) {
    this.#path = settings.files.operations;
  }

  /**
   * Declares that a job of this kind consists of several changes, so that a killed suite can leave only some of them.
   * `describe` is called when the suite starts again, with the saved state. Call it before `open`.
   */
  describesLeft(kind: string, describe: DescribeLeft): void {
    this.#describeLeft.set(kind, describe);
  }

  /**
   * Reads the records, and marks records of running jobs as interrupted. A file that cannot be read is replaced. Call it
   * after the state was read.
   *
   * @throws AppError storage_failed
   */
  async open(): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true });
    try {
      const text = await readFile(this.#path, 'utf8');
      const { operations, owners = {} } = JSON.parse(text) as SavedRecords;
      // Records of earlier versions have no actor.
      for (const record of operations)
        this.#records.set(record.id, { ...record, actor: record.actor ?? 'unknown' });
      for (const [id, names] of Object.entries(owners)) this.#owners.set(id, new Set(names));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#logger.warn(
          `${this.#path} cannot be read and is replaced by an empty file: ${messageOf(error)}`,
        );
    }
    for (const record of this.#records.values())
      if (record.status === 'running') interrupt(record, this.#leftBy(record));
    await this.#save();
  }

  /** Cancels all running jobs, marks their records as interrupted, and waits until the file is written. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const running of this.#running.values()) running.cancel();
    await Promise.allSettled([...this.#running.values()].map((running) => running.wait()));
    await this.#queue(() => Promise.resolve());
  }

  /** What a job of an earlier process has left. */
  #leftBy({ kind, arguments: given }: OperationDto): string {
    const describe = this.#describeLeft.get(kind);
    return describe && given ? describe(given) : NOTHING_LEFT;
  }

  @Operation({
    name: 'haproxy_list_operations',
    scope: 'own',
    title: 'List long operations',
    description:
      'Lists running and recent long operations, newest first, with who started each: issuing, renewing, importing, ' +
      'replacing a server, waiting. A caller that is no administrator sees only its own. Use status=running to see what the suite does now, and why a certificate failed.',
    output: OperationListDto,
    readOnly: true,
    idempotent: true,
  })
  async list(input: ListOperationsDto): Promise<OperationListDto> {
    const records = [...this.#records.values(), ...this.#followed.values()].filter(
      ({ id, status }) => this.#isVisible(id) && (input.status === undefined || status === input.status),
    );
    const sorted = records.toSorted((a, b) => (newestFirst(a) < newestFirst(b) ? -1 : 1));
    const page = paginate(sorted, newestFirst, input);
    return { ...page, items: page.items.map((record) => summaryOf(record)) };
  }

  @Operation({
    name: 'haproxy_get_operation',
    scope: 'own',
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
    const record = this.#records.get(id) ?? this.#followed.get(id);
    if (record && this.#isVisible(id)) return Promise.resolve({ ...record });
    return Promise.reject(
      new AppError(
        'not_found',
        `There is no operation ${id}. The suite keeps the last ${MAX_RECORDS}. Repeat the request.`,
      ),
    );
  }

  /** An operation belongs to the callers that started it. Administrators see all. */
  #isVisible(id: string): boolean {
    const { role, scope, owner } = callContext();
    if (role === 'admin' && scope?.limitsDomains !== true) return true;
    return owner !== undefined && this.#owners.get(id)?.has(owner) === true;
  }

  /** Makes an operation belong to the current caller too. */
  #own(id: string): void {
    const { owner } = callContext();
    if (owner !== undefined) this.#owners.set(id, (this.#owners.get(id) ?? new Set()).add(owner));
  }

  /**
   * Starts `work` as a job of the current caller, or joins the running job with the same kind and key. The job continues
   * after the call returns.
   *
   * @throws AppError shutting_down, forbidden
   */
  start<T extends object>(spec: JobSpec, work: (job: JobContext) => Promise<T>): RunningJob<T> {
    const id = randomUUID();
    const { actor, via, role, scope, owner, requestId } = callContext();
    // The same work of a caller with other limits has another result.
    const key = `${spec.kind} ${spec.key ?? id}${scope ? ` ${owner}` : ''}`;
    const same = this.#running.get(key);
    // Jobs with the same key have the same type of result.
    if (same && !same.signal.aborted) {
      this.#own(same.record.id);
      return same as RunningJob<T>;
    }
    if (this.#stopping)
      throw new AppError(
        'shutting_down',
        'The suite is stopping and starts no operation. Try again when it runs again.',
      );
    // A dry run starts no job. This holds even if a route lost the argument.
    if (role === 'read')
      throw new AppError(
        'forbidden',
        'This token may only read. Use the admin token (MCP_TOKEN) for this call.',
      );
    const record = newRecord(spec, actor, id);
    const running = new RunningJob<T>(record);
    this.#records.set(record.id, record);
    this.#own(record.id);
    this.#running.set(key, running);
    const silent = { progress: () => undefined, log: () => undefined };
    const context = { actor, via, role, scope, owner, requestId, signal: () => running.signal, ...silent };
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

  /**
   * Runs `work` of the current caller, which waits and changes nothing, so that the list of operations shows it. Keeps
   * the record in memory: for a call that ended within a second not at all, because such calls would push out others.
   */
  async follow<T>(spec: JobSpec, work: () => Promise<T>): Promise<T> {
    const caller = callContext();
    const record = newRecord(spec, caller.actor);
    const started = performance.now();
    const progress: typeof caller.progress = (step, total, message) => {
      record.progress = [{ at: new Date().toISOString(), message }];
      caller.progress(step, total, message);
    };
    this.#followed.set(record.id, record);
    this.#own(record.id);
    try {
      const result = await runWithCallContext({ ...caller, progress }, work);
      record.status = 'succeeded';
      return result;
    } catch (error) {
      record.status = 'failed';
      record.error = (error instanceof AppError ? error : internalError(error)).toProblem();
      throw error;
    } finally {
      record.finished_at = new Date().toISOString();
      if (performance.now() - started < SHORT_MS) this.#forget(record.id);
      this.#dropFollowed();
    }
  }

  #dropFollowed(): void {
    for (const [id, { status }] of this.#followed) {
      if (this.#followed.size <= MAX_FOLLOWED) break;
      if (status !== 'running') this.#forget(id);
    }
  }

  #forget(id: string): void {
    this.#followed.delete(id);
    this.#records.delete(id);
    this.#owners.delete(id);
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
      // A job that says what its cancellation left knows more than the general text.
      if (this.#stopping && running.signal.aborted)
        interrupt(record, known.code === 'cancelled' ? known.detail : NOTHING_LEFT);
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

  #saved(): SavedRecords {
    const operations = [...this.#records.values()];
    const owners = operations.map(({ id }) => [id, [...(this.#owners.get(id) ?? [])]] as const);
    return { operations, owners: Object.fromEntries(owners) };
  }

  #save(): Promise<void> {
    for (const id of this.#records.keys()) {
      if (this.#records.size <= MAX_RECORDS) break;
      if (this.#records.get(id)?.status !== 'running') this.#forget(id);
    }
    return this.#queue(() =>
      writeFileAtomic(this.#path, `${JSON.stringify(this.#saved())}\n`, 0o600).catch((error: unknown) => {
        throw storageError(error);
      }),
    );
  }
}

function newRecord({ kind, domain, given }: JobSpec, actor: string, id: string = randomUUID()): OperationDto {
  return {
    id,
    kind,
    ...(domain !== undefined && { domain }),
    ...(given && { arguments: given }),
    actor,
    status: 'running',
    started_at: new Date().toISOString(),
    progress: [],
  };
}

function summaryOf(record: OperationDto): OperationSummaryDto {
  const { id, kind, domain, arguments: given, actor, status, started_at, finished_at, error } = record;
  const message = record.progress.at(-1)?.message;
  return {
    id,
    kind,
    ...(domain !== undefined && { domain }),
    ...(given && { arguments: given }),
    actor,
    status,
    started_at,
    ...(finished_at !== undefined && { finished_at }),
    ...(message !== undefined && { message }),
    ...(error && { error }),
  };
}

/** A sort key. A later start has a smaller one. */
function newestFirst({ started_at, id }: OperationDto): string {
  return `${String(Number.MAX_SAFE_INTEGER - Date.parse(started_at)).padStart(16, '0')} ${id}`;
}

function interrupt(record: OperationDto, left: string): void {
  record.status = 'interrupted';
  record.finished_at ??= new Date().toISOString();
  record.error = new AppError(
    'shutting_down',
    `The suite stopped before the operation ended. ${left}`,
  ).toProblem();
}
