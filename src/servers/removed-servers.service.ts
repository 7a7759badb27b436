import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { DrainWatch } from '../haproxy/workers/drain-watch.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { serverAddress } from '../model/server.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { drainStatus, removedTarget } from './drain-rules.js';
import type { PlacedServer } from './server-rules.js';
import type { StillOpenDto } from './servers.dto.js';

/** The removal is done, so its answer does not wait longer for old workers that hang. */
const LIMIT_MS = 1_500;

const NOTHING_OPEN = { current: 0, old_workers: 0, idle_clients: 0 };

/** A server that a change removed. `readdressed`: its slot has another server now, and HAProxy kept the connections. */
export interface RemovedServer extends PlacedServer {
  readdressed?: boolean;
}

/** Tells after a removal what workers of HAProxy still have of the servers, so that the operator does not stop them too early. */
@Injectable()
export class RemovedServers {
  readonly #watch: DrainWatch;

  constructor(
    runtime: HaproxyRuntimeService,
    private readonly workers: HaproxyWorkers,
    private readonly reconciler: ReconcilerService,
  ) {
    this.#watch = new DrainWatch(runtime, workers);
  }

  /**
   * What is still open to the servers of one pool; undefined if nothing is known to be. Call it when HAProxy has the
   * removal. Asks no worker if it is known that there is no old worker and that HAProxy has deleted the servers. Never
   * throws.
   */
  async stillOpen(removed: readonly RemovedServer[], nextStep: string): Promise<StillOpenDto | undefined> {
    const { process } = this.reconciler;
    const isGone = removed.every(
      ({ pool, slot, readdressed }) => !readdressed && !this.reconciler.isParked(pool, slot),
    );
    const [first] = removed;
    if (!first || (process && isGone && this.workers.isAlone(process))) return undefined;
    const tooLate = delay(LIMIT_MS, undefined, { ref: false }).then(() => {
      throw new Error(`not all workers of HAProxy answered within ${LIMIT_MS} ms`);
    });
    tooLate.catch(() => undefined);
    try {
      return await Promise.race([this.#read(first.pool, removed, nextStep), tooLate]);
    } catch (error) {
      const detail = `Keep the server running: it is not known whether a worker has a connection to it (${messageOf(error)}). ${nextStep}`;
      return { ...NOTHING_OPEN, detail };
    }
  }

  async #read(
    pool: string,
    removed: readonly PlacedServer[],
    nextStep: string,
  ): Promise<StillOpenDto | undefined> {
    const view = await this.#watch.load(
      pool,
      removed.map(({ server }) => serverAddress(server)),
    );
    const targets = removed.map(({ slot, server }) => removedTarget(slot, serverAddress(server), true));
    const { reason, current, old_workers, idle_clients, final } = drainStatus(targets, pool, view);
    // Without a master socket only the current worker is known; haproxy_health says so.
    if (reason === undefined || final === 'no_master') return undefined;
    const detail = `Keep the server running. ${reason} ${nextStep}`;
    return { current, old_workers, idle_clients, detail };
  }
}
