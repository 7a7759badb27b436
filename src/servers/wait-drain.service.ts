import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import { Operation } from '../contract/operation.js';
import { CallerQuota } from '../lib/caller-quota.js';
import { poll } from '../lib/poll.js';
import { Shutdown } from '../signals/shutdown.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { DrainWatch } from '../haproxy/workers/drain-watch.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { JobsService } from '../jobs/jobs.service.js';
import { serverAddress } from '../model/server.js';
import { requirePool } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { drainStatus, type DrainStatus, drainTargets } from './drain-rules.js';
import { requireServer } from './server-rules.js';
import { WaitDrainDto, WaitDrainResultDto } from './servers.dto.js';

/** The pause between two checks doubles from the first value to the second. Most servers are idle after a short time. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 250;
/** Checks of all waiting calls within this time share one connection to HAProxy: at most 50 connections a second. */
const BATCH_MS = 20;
/** The limit of calls that wait at the same time. Each holds a connection, and polls HAProxy, for up to an hour. */
const MAX_WAITING = 256;

/** A master that has not listened for this time is not expected to return during the call. A restart takes less. */
const NO_MASTER_MS = 1_000;

/** Waits until no worker of HAProxy has, or can open, a connection to servers. */
@Injectable()
export class WaitDrainService {
  readonly #quota = new CallerQuota(MAX_WAITING);
  readonly #watch: DrainWatch;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly shutdown: Shutdown,
    private readonly jobs: JobsService,
    runtime: HaproxyRuntimeService,
    workers: HaproxyWorkers,
  ) {
    this.#watch = new DrainWatch(runtime, workers, () => delay(BATCH_MS));
  }

  @Operation({
    name: 'haproxy_wait_drain',
    scope: 'view',
    command: 'servers wait-drain',
    wanted: { drained: true },
    title: 'Wait until a server is idle',
    description:
      'Waits until a server (slot 0: all servers of the domain) has no connections in any HAProxy worker, old ones ' +
      'from before a reload too, at most timeout seconds. Changes nothing: set the state to drain first; a ready server ' +
      'is never drained. Next: {haproxy_set_server_state} with maint, or {haproxy_remove_server}.',
    output: WaitDrainResultDto,
    readOnly: true,
    idempotent: true,
    errors: [
      'domain_not_found',
      'pool_external',
      'server_not_found',
      'too_many_waiting',
      'haproxy_unavailable',
    ],
  })
  async wait(input: WaitDrainDto): Promise<WaitDrainResultDto> {
    const release = this.#quota.acquire(callContext().actor);
    if (!release)
      throw new AppError(
        'too_many_waiting',
        `Too many calls wait for servers (at most ${MAX_WAITING}, ${this.#quota.perCaller} of one caller). Try again when ` +
          'some have ended, or read the current connections with {haproxy_list_servers}.',
      );
    try {
      return await this.jobs.follow({ kind: 'wait_drain', domain: input.domain }, () => this.#wait(input));
    } finally {
      release();
    }
  }

  async #wait(input: WaitDrainDto): Promise<WaitDrainResultDto> {
    const { signal: callerGone, progress } = callContext();
    // A shutdown does not wait for the timeout of the call.
    const signal = AbortSignal.any([callerGone(), this.shutdown.signal]);
    const started = performance.now();
    const elapsed = () => Math.round(performance.now() - started);
    let noMasterSince: number | undefined;
    const isOver = ({ final }: DrainStatus): boolean => {
      noMasterSince = final === 'no_master' ? (noMasterSince ?? elapsed()) : undefined;
      return final === true || (noMasterSince ?? Number.POSITIVE_INFINITY) + NO_MASTER_MS < elapsed();
    };
    const { final: _, ...status } = await poll(() => this.#status(input), isOver, {
      firstPauseMs: FIRST_PAUSE_MS,
      longestPauseMs: LONGEST_PAUSE_MS,
      limitMs: input.timeout * 1000,
      signal,
      onWait: ({ current, old_workers, idle_clients }, elapsedMs) => {
        const idle = idle_clients > 0 ? `, and ${idle_clients} idle client(s) of old workers` : '';
        const left = `${current + old_workers} connection(s) left${idle}`;
        progress(Math.floor(elapsedMs / 1000), input.timeout, left);
      },
    });
    return { ...status, waited_ms: elapsed() };
  }

  async #status(input: Pick<WaitDrainDto, 'domain' | 'slot'>): Promise<DrainStatus> {
    const { domain, slot } = input;
    const { name, pool } = requirePool(this.persistence.visible, domain);
    const addresses = [...pool.servers]
      .filter(([candidate]) => slot === 0 || candidate === slot)
      .map(([, server]) => serverAddress(server));
    const view = await this.#watch.load(name, addresses);
    // The state may have changed meanwhile, and the domain may be in another pool.
    const state = this.persistence.visible;
    const latest = requirePool(state, domain);
    if (latest.name !== name) return this.#status(input);
    const targets = drainTargets(name, latest.pool, slot, view);
    if (targets.length === 0 && slot !== 0) requireServer(state, domain, slot);
    return drainStatus(targets, name, view);
  }
}
