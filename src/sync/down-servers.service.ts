import { readFile } from 'node:fs/promises';
import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { poolsWithChangedServers } from '../model/change/state-delta.js';
import { serverName } from '../model/names/pool-name.js';
import { type PoolServers, serverAddress, type ServerSpec } from '../model/server.js';
import type { Pool, State, StateDelta } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import type { DownServer } from '../storage/down-servers-file.js';
import { StateStore } from '../storage/state-store.js';

const INTERVAL_MS = 1_000;
/** The next reading waits this many times the duration of the last one, so that a large HAProxy is not read all the time. */
const PAUSE_FACTOR = 50;
/** How often the file is confirmed while nothing changes. Must be less than MAX_AGE_MS of the file. */
const CONFIRM_MS = 20_000;

/**
 * Keeps what HAProxy knows about the health of servers over its reloads and restarts: writes `down-servers.state` each
 * second when it changes, and right before each reload by the suite.
 */
@Injectable()
export class DownServersService {
  readonly #logger = new Logger('DownServers');
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #nextAt = 0;
  #confirmedAt = 0;
  /** The error that was logged last and still persists. */
  #loggedError = '';

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly store: StateStore,
    private readonly settings: Settings,
  ) {}

  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), INTERVAL_MS).unref();
  }

  /** Stops. A HAProxy that continues without the suite may start much later, when the rows are no longer true. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
    const { downServers } = this.store;
    const last =
      this.settings.control === 'managed'
        ? downServers.confirm()
        : downServers.forgetWholePools(this.persistence.state);
    await last.catch((error: unknown) => this.#failed(error));
  }

  /**
   * Writes the servers that are DOWN now. Call it before a reload, while no change is under way
   * (`PersistenceService.exclusively`). Never throws: a reload without this knowledge is better than no reload.
   *
   * `change` is a change that HAProxy gets with the reload. Its servers that join a pool with a server that is UP are
   * written as DOWN, so that they get requests after a passed check, as servers that join at run time.
   */
  async record(change?: StateDelta): Promise<void> {
    try {
      const saved = await this.#read();
      const kept = saved.filter(
        (row) => !change?.pools.has(row.pool) || hasRow(change.pools.get(row.pool), row),
      );
      const down = change ? [...kept, ...(await this.#joining(change, saved))] : saved;
      await this.store.downServers.write(down.length > 0 && (await this.#refusesWarnings()) ? [] : down);
      this.#loggedError = '';
    } catch (error) {
      this.#failed(error);
    }
  }

  #tick(): void {
    if (performance.now() < this.#nextAt) return;
    this.#running ??= this.#check()
      // HaproxyWatchService logs an unreachable HAProxy.
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #check(): Promise<void> {
    const started = performance.now();
    const { downServers } = this.store;
    const differs = downServers.differsFrom(await this.#read());
    this.#nextAt = performance.now() + (performance.now() - started) * PAUSE_FACTOR;
    // A change may be under way, so the servers are read again when none is.
    if (differs) await this.persistence.exclusively(() => this.record());
    else if (started - this.#confirmedAt > CONFIRM_MS) {
      this.#confirmedAt = started;
      await downServers.confirm();
    }
  }

  /** The servers that are DOWN at the address of the saved state. HAProxy would apply another port from the file. */
  async #read(): Promise<DownServer[]> {
    const down = await this.runtime.downServers();
    return down.filter((row) => {
      const wanted = this.persistence.state.pool(row.pool)?.servers.get(row.slot);
      return wanted !== undefined && wanted.state !== 'maint' && serverAddress(wanted) === serverAddress(row);
    });
  }

  /** The servers of a change that join a pool in which another server stays UP. A server without a check would stay DOWN. */
  async #joining(change: StateDelta, down: readonly DownServer[]): Promise<DownServer[]> {
    const joining = joiningServers(change, this.persistence.state, down);
    if (joining.length === 0) return [];
    const servers = await this.runtime.serversOf([...new Set(joining.map(({ pool }) => pool))]);
    const unchecked = new Set(servers.flatMap((row) => (row.hasNoCheck ? [row.backend] : [])));
    return joining.filter(({ pool }) => !unchecked.has(pool));
  }

  /** Whether HAProxy was started with -dW: it prints a warning for each server of the file, and would not start. */
  async #refusesWarnings(): Promise<boolean> {
    const { pid } = await this.runtime.info();
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return commandLine.split('\0').includes('-dW');
  }

  #failed(error: unknown): void {
    const message = messageOf(error);
    if (message !== this.#loggedError)
      this.#logger.warn(
        `The suite cannot record which servers are DOWN, so the next HAProxy process starts with all servers UP: ${message}`,
      );
    this.#loggedError = message;
  }
}

/** srv_check_status and srv_check_result of a server that has not been checked yet (include/haproxy/check-t.h). */
const NOT_CHECKED = { checkStatus: 1, checkResult: 0 };

function joiningServers(change: StateDelta, before: State, down: readonly DownServer[]): DownServer[] {
  const downNames = new Set(down.map(({ pool, slot }) => serverName(pool, slot)));
  const joining: DownServer[] = [];
  for (const pool of poolsWithChangedServers(change, before)) {
    const servers: PoolServers = change.pools.get(pool)?.servers ?? new Map();
    const former: PoolServers = before.pool(pool)?.servers ?? new Map();
    const isUp = (slot: number, server: ServerSpec | undefined): boolean =>
      server?.state === 'ready' && server.weight > 0 && !downNames.has(serverName(pool, slot));
    const staysUp = [...servers].some(
      ([slot, server]) =>
        isUp(slot, server) && isUp(slot, former.get(slot)) && hasSameAddress(server, former.get(slot)),
    );
    if (!staysUp) continue;
    // A server that only changes its slot has passed its checks in the other slot.
    const checked = new Set(
      [...former].flatMap(([slot, server]) => (isUp(slot, server) ? [serverAddress(server)] : [])),
    );
    for (const [slot, server] of servers) {
      const one = former.get(slot);
      const joins = server.state !== 'maint' && (one?.state === 'maint' || !hasSameAddress(server, one));
      if (!joins || checked.has(serverAddress(server))) continue;
      const { ip, http_port } = server;
      joining.push({ pool, slot, ip, http_port, ...NOT_CHECKED });
    }
  }
  return joining;
}

/** Whether the server of the row is in the pool at the same address. */
function hasRow(pool: Pool | undefined, row: DownServer): boolean {
  const server = pool?.servers.get(row.slot);
  return server !== undefined && serverAddress(server) === serverAddress(row);
}

function hasSameAddress(one: ServerSpec, other: ServerSpec | undefined): boolean {
  return other !== undefined && serverAddress(one) === serverAddress(other);
}
