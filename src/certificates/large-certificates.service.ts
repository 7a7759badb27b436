import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { HaproxyReloadService } from '../sync/haproxy-reload.service.js';

/** How long the new worker of a reload may take until it is the one that answers. */
const SWITCH_MS = 5_000;
const LOOK_MS = 20;

/**
 * Certificates that are larger than HAProxy takes at run time (tune.bufsize, 16 KB before 3.4) come in by their file
 * and a reload, which costs no request either.
 */
@Injectable()
export class LargeCertificates {
  constructor(
    private readonly reloads: HaproxyReloadService,
    private readonly persistence: PersistenceService,
  ) {}

  needsReload(path: string): AppError {
    return new AppError(
      'payload_too_large',
      `${path} is larger than this HAProxy takes at run time: it is served after the next reload (haproxy_reload).`,
    );
  }

  /** @throws AppError haproxy_rejected with HAProxy's words; it then goes on as before */
  async reloadUntil(path: string, isServed: () => Promise<boolean>): Promise<void> {
    await this.persistence.exclusively(() => this.reloads.reload());
    const end = performance.now() + SWITCH_MS;
    while (!(await isServed())) {
      if (performance.now() > end)
        throw new AppError('haproxy_rejected', `HAProxy reloaded but does not serve ${path}. See its log.`);
      await delay(LOOK_MS);
    }
  }
}
