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

/** Short at first, because most servers are idle within a moment; then a look a quarter of a second is enough. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 250;
/** Short enough that nobody notices, and long enough that any number of waiters makes 50 looks a second at most. */
const GATHER_MS = 20;
/** Who waits holds a connection, and asks HAProxy, for up to an hour. */
const MAX_WAITING = 256;

/** Waits until servers have no connections left. */
@Injectable()
export class WaitDrainService {
  readonly #places = new CallerQuota(MAX_WAITING);
  readonly #looks: ServerStatusBatcher;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly shutdown: Shutdown,
    runtime: HaproxyRuntimeService,
  ) {
    this.#looks = new ServerStatusBatcher(runtime, () => delay(GATHER_MS));
  }

  @Operation({
    name: 'haproxy_wait_drain',
    title: 'Wait until a server is idle',
    description:
      'Waits until a server (slot 0: all servers of the domain) has no connections left, or timeout seconds are over; ' +
      'drained says which. It changes nothing: set the state to drain first, or new requests keep coming. ' +
      'Afterwards haproxy_set_server_state with maint, or haproxy_remove_server, hurts nobody.',
    output: WaitDrainResultDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found', 'server_not_found', 'haproxy_unavailable'],
  })
  async wait(input: WaitDrainDto): Promise<WaitDrainResultDto> {
    const giveBack = this.#places.acquire(callContext().actor);
    if (!giveBack)
      throw new AppError(
        'haproxy_unavailable',
        `Too many wait for servers already (${MAX_WAITING} at once, ${this.#places.perCaller} of one caller). Try again when ` +
          'some are done; haproxy_list_servers shows the connections at once.',
      );
    try {
      return await this.#wait(input);
    } finally {
      giveBack();
    }
  }

  async #wait(input: WaitDrainDto): Promise<WaitDrainResultDto> {
    const { signal: callerGone, progress } = callContext();
    // A suite that stops does not wait out an hour on behalf of a caller.
    const signal = AbortSignal.any([callerGone(), this.shutdown.signal]);
    const started = performance.now();
    const elapsed = () => Math.round(performance.now() - started);
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      const servers = await this.#connections(input);
      const open = servers.reduce((sum, server) => sum + server.connections, 0);
      const drained = open === 0;
      const left = input.timeout * 1000 - elapsed();
      if (drained || left <= 0 || signal.aborted) return { drained, waited_ms: elapsed(), servers };
      progress(Math.floor(elapsed() / 1000), input.timeout, `${open} connection(s) left`);
      await pauseFor(Math.min(pause, left), signal);
    }
  }

  async #connections({ domain, slot }: WaitDrainDto): Promise<WaitDrainResultDto['servers']> {
    const { state } = this.persistence;
    const wanted = slot === 0 ? serversOf(state, domain) : [requireServer(state, domain, slot)];
    const pool = wanted[0]?.pool;
    if (pool === undefined) return [];
    const seen = await this.#looks.load(pool);
    return wanted.map((placed) => ({
      slot: placed.slot,
      state: placed.server.state,
      connections: seen.find((status) => status.slot === placed.slot)?.connections ?? 0,
    }));
  }
}

function pauseFor(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
}
