import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import { Operation } from '../contract/operation.js';
import { CallerQuota } from '../lib/caller-quota.js';
import { Shutdown } from '../signals/shutdown.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { ServerStatusBatcher } from '../haproxy/runtime/status-batcher.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { requireServer, serversOf } from './server-rules.js';
import { WaitDrainDto, WaitDrainResultDto } from './servers.dto.js';

/** The pause between two checks doubles from the first value to the second. Most servers are idle after a short time. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 250;
/** Checks of all waiting calls within this time share one connection to HAProxy: at most 50 connections a second. */
const BATCH_MS = 20;
/** The limit of calls that wait at the same time. Each holds a connection, and polls HAProxy, for up to an hour. */
const MAX_WAITING = 256;

/** Waits until servers have no connections left. */
@Injectable()
export class WaitDrainService {
  readonly #quota = new CallerQuota(MAX_WAITING);
  readonly #statuses: ServerStatusBatcher;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly shutdown: Shutdown,
    runtime: HaproxyRuntimeService,
  ) {
    this.#statuses = new ServerStatusBatcher(runtime, () => delay(BATCH_MS));
  }

  @Operation({
    name: 'haproxy_wait_drain',
    title: 'Wait until a server is idle',
    description:
      'Waits until a server (slot 0: all servers of the domain) has no connections, at most timeout seconds; ' +
      'drained says whether it has none. Changes nothing: set the state to drain first, or new requests keep coming. ' +
      'Next: haproxy_set_server_state with maint, or haproxy_remove_server.',
    output: WaitDrainResultDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found', 'pool_external', 'server_not_found', 'haproxy_unavailable'],
  })
  async wait(input: WaitDrainDto): Promise<WaitDrainResultDto> {
    const release = this.#quota.acquire(callContext().actor);
    if (!release)
      throw new AppError(
        'haproxy_unavailable',
        `Too many calls wait for servers (at most ${MAX_WAITING}, ${this.#quota.perCaller} of one caller). Try again when ` +
          'some have ended, or read the current connections with haproxy_list_servers.',
      );
    try {
      return await this.#wait(input);
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
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      const servers = await this.#connections(input);
      const open = servers.reduce((sum, server) => sum + server.connections, 0);
      const drained = open === 0;
      const remaining = input.timeout * 1000 - elapsed();
      if (drained || remaining <= 0 || signal.aborted) return { drained, waited_ms: elapsed(), servers };
      progress(Math.floor(elapsed() / 1000), input.timeout, `${open} connection(s) left`);
      await sleep(Math.min(pause, remaining), signal);
    }
  }

  async #connections({ domain, slot }: WaitDrainDto): Promise<WaitDrainResultDto['servers']> {
    const { state } = this.persistence;
    const wanted = slot === 0 ? serversOf(state, domain) : [requireServer(state, domain, slot)];
    const pool = wanted[0]?.pool;
    if (pool === undefined) return [];
    const rows = await this.#statuses.load(pool);
    return wanted.map((placed) => ({
      slot: placed.slot,
      state: placed.server.state,
      connections: rows.find((row) => row.slot === placed.slot)?.connections ?? 0,
    }));
  }
}

/** Ends early when the signal aborts. */
async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal }).catch(() => undefined);
}
