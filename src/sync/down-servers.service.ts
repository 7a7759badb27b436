import { readFile } from 'node:fs/promises';
import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { serverAddress } from '../model/server.js';
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
   */
  async record(): Promise<void> {
    try {
      const down = await this.#read();
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
