import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { AppError } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { ServerStatusBatcher } from '../haproxy/runtime/status-batcher.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { JobsService } from '../jobs/jobs.service.js';
import { CallerQuota } from '../lib/caller-quota.js';
import { poll } from '../lib/poll.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Shutdown } from '../signals/shutdown.js';
import { readDomainHealth } from './domain-health.js';
import { type DomainHealthDto, WaitHealthyDto, WaitHealthyResultDto } from './server-health.dto.js';

/** The pause between two reads doubles from the first value to the second. The first check of a server takes up to 2 s. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;
/** Reads of all waiting calls within this time share one connection to HAProxy. */
const BATCH_MS = 20;
/** The limit of calls that wait at the same time. Each holds a connection, and polls HAProxy, for up to an hour. */
const MAX_WAITING = 256;

/** Waits until a domain is healthy. */
@Injectable()
export class WaitHealthyService {
  readonly #quota = new CallerQuota(MAX_WAITING);
  readonly #statuses: ServerStatusBatcher;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly shutdown: Shutdown,
    private readonly jobs: JobsService,
    private readonly runtime: HaproxyRuntimeService,
    workers: HaproxyWorkers,
  ) {
    this.#statuses = new ServerStatusBatcher(workers, () => delay(BATCH_MS));
  }

  @Operation({
    name: 'haproxy_wait_healthy',
    scope: 'view',
    command: 'domains wait-healthy',
    wanted: { status: 'healthy' },
    title: 'Wait until a domain is healthy',
    description:
      'Waits until every server of a domain has passed a health check and gets requests, at most timeout seconds. ' +
      'Returns the health of the domain: healthy, or after the timeout what is wrong. Changes nothing. Call it after ' +
      '{haproxy_add_domain} or {haproxy_add_server}.',
    output: WaitHealthyResultDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found', 'too_many_waiting', 'haproxy_unavailable'],
  })
  async wait(input: WaitHealthyDto): Promise<WaitHealthyResultDto> {
    const release = this.#quota.acquire(callContext().actor);
    if (!release)
      throw new AppError(
        'too_many_waiting',
        `Too many calls wait for domains (at most ${MAX_WAITING}, ${this.#quota.perCaller} of one caller). Try again when ` +
          'some have ended, or read the present health with {haproxy_domain_health}.',
      );
    try {
      return await this.jobs.follow({ kind: 'wait_healthy', domain: input.domain }, () => this.#wait(input));
    } finally {
      release();
    }
  }

  async #wait({ domain, timeout }: WaitHealthyDto): Promise<WaitHealthyResultDto> {
    const { signal: callerGone, progress } = callContext();
    // A shutdown does not wait for the timeout of the call.
    const signal = AbortSignal.any([callerGone(), this.shutdown.signal]);
    const started = performance.now();
    const read = () =>
      readDomainHealth(this.persistence.visible, domain, this.runtime, (pool) => this.#statuses.load(pool));
    const health = await poll(read, isOver, {
      firstPauseMs: FIRST_PAUSE_MS,
      longestPauseMs: LONGEST_PAUSE_MS,
      limitMs: timeout * 1000,
      signal,
      onWait: ({ status, detail }, elapsedMs) =>
        progress(Math.floor(elapsedMs / 1000), timeout, `${status}: ${detail}`),
    });
    return { ...health, waited_ms: Math.round(performance.now() - started) };
  }
}

/** Whether waiting cannot help: every server that has not passed a check has none. */
function isUncheckable({ servers, total }: DomainHealthDto): boolean {
  return (
    total > 0 &&
    servers.some(({ status }) => status === 'no check') &&
    servers.every(({ status }) => status === 'no check' || status === 'UP')
  );
}

function isOver(health: DomainHealthDto): boolean {
  return health.status === 'healthy' || isUncheckable(health);
}
