import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { type ConfigMessage, parseConfigMessages } from '../haproxy/config/config-messages.js';
import { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { isSameProcess, type ProcessIdentity } from '../haproxy/runtime/process-identity.js';
import type { StateDelta } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { DownServersService } from './down-servers.service.js';
import { HaproxyWatchService } from './haproxy-watch.service.js';
import type { RestoreReport } from './haproxy-restore.service.js';

/** A new worker reads every certificate before it answers. */
const NEW_WORKER_MS = 30_000;
const POLL_MS = 20;

/** Reloads HAProxy: repairs the derived files, reloads, waits for the new worker, restores the saved state. */
@Injectable()
export class HaproxyReloadService {
  constructor(
    private readonly control: HaproxyControlService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly watch: HaproxyWatchService,
    private readonly downServers: DownServersService,
  ) {}

  /**
   * Repairs the derived files, which the new worker reads, and reloads. Call it while no change is under way
   * (`PersistenceService.exclusively`): a change between the read of the files by the new worker and its start would
   * be lost.
   *
   * @throws AppError haproxy_rejected (the running worker serves as before), haproxy_unavailable, storage_failed
   */
  async reload(): Promise<RestoreReport> {
    await this.persistence.rewriteDerived();
    return this.reloadFiles();
  }

  /** Reloads with the files as they are. Has the same conditions and errors as `reload`. */
  async reloadFiles(): Promise<RestoreReport> {
    await this.loadFiles();
    return this.restore();
  }

  /**
   * The first half of `reloadFiles`: a new worker serves with the files as they are. Call `restore` next, when the saved
   * state is that of the files. `change` is what the files have more than the saved state.
   *
   * @throws AppError haproxy_rejected (the running worker serves as before), haproxy_unavailable
   */
  async loadFiles(change?: StateDelta): Promise<void> {
    const before = await this.runtime.info();
    await this.downServers.record(change);
    const { success, log } = await this.control.reload();
    if (!success) {
      if (change) await this.downServers.record();
      throw refusedConfiguration(
        `The reload failed; HAProxy serves with its previous configuration: ${log.slice(-500)}`,
        parseConfigMessages(log).errors,
      );
    }
    await this.#waitForNewWorker(before);
  }

  /** The second half of `reloadFiles`. @throws AppError haproxy_unavailable, haproxy_rejected */
  restore(): Promise<RestoreReport> {
    return this.watch.restoreNewProcess();
  }

  async #waitForNewWorker(former: ProcessIdentity): Promise<void> {
    const end = performance.now() + NEW_WORKER_MS;
    while (performance.now() < end) {
      const info = await this.runtime.info().catch(() => undefined);
      if (info && !isSameProcess(former, info)) return;
      await delay(POLL_MS);
    }
    throw new AppError(
      'haproxy_unavailable',
      `HAProxy was reloaded, but no new worker answered within ${NEW_WORKER_MS / 1000} s; the old worker may still ` +
        'serve. Read the log of HAProxy, and call {haproxy_health}.',
    );
  }
}

/** A haproxy_rejected error with the messages of HAProxy about its configuration, by file and line. */
export function refusedConfiguration(detail: string, messages: readonly ConfigMessage[]): AppError {
  const shown = messages
    .slice(0, 3)
    .map(({ file, line, message }) => `${file ?? ''}:${line ?? ''} ${message}`);
  return new AppError('haproxy_rejected', [detail, ...shown].join(' '), {
    errors: messages.map(({ file, line, message }) => ({
      field: `${file ?? 'configuration'}:${line ?? '?'}`,
      message,
    })),
  });
}
