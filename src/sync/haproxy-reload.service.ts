import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { type ConfigMessage, parseConfigMessages } from '../haproxy/config/config-messages.js';
import { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { isSameProcess, type ProcessIdentity } from '../haproxy/runtime/process-identity.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { HaproxyWatchService } from './haproxy-watch.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import type { RestoreReport } from '../reconciler/restore-report.js';

/** A new worker reads every certificate before it answers. */
const NEW_WORKER_MS = 30_000;
const LOOK_MS = 20;

/** The one way in which the suite reloads HAProxy: files in order, reload, new worker, desired state. */
@Injectable()
export class HaproxyReloadService {
  constructor(
    private readonly control: HaproxyControlService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly watch: HaproxyWatchService,
  ) {}

  /**
   * Puts derived files right that somebody edited: the new worker would serve them, however short. Call it, as
   * `reload`, with no change under way (`PersistenceService.exclusively`).
   */
  async prepareFiles(): Promise<void> {
    await this.reconciler.prepare();
    await this.persistence.rewriteDerived();
  }

  /**
   * No change may fall between the moment the new worker reads the files and the moment it takes over, hence
   * `exclusively`.
   *
   * @throws AppError haproxy_rejected where HAProxy refuses, and then goes on as before; haproxy_unavailable
   */
  async reload(): Promise<RestoreReport> {
    await this.prepareFiles();
    const before = await this.runtime.info();
    const { success, log } = await this.control.reload();
    if (!success)
      throw refusedConfiguration(
        `The reload failed; HAProxy goes on with what it has: ${log.slice(-500)}`,
        parseConfigMessages(log).errors,
      );
    await this.#newWorker(before);
    return this.watch.adoptProcess();
  }

  async #newWorker(former: ProcessIdentity): Promise<void> {
    const end = performance.now() + NEW_WORKER_MS;
    while (performance.now() < end) {
      const info = await this.runtime.info().catch(() => undefined);
      if (info && !isSameProcess(former, info)) return;
      await delay(LOOK_MS);
    }
    throw new AppError(
      'haproxy_unavailable',
      `HAProxy was told to reload, but no new worker answered within ${NEW_WORKER_MS / 1000} s; the former one may ` +
        'serve on. See the log of HAProxy, and haproxy_health.',
    );
  }
}

/** haproxy_rejected with what HAProxy says of its configuration, by file and line. */
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
