import { rm } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { asStorageError } from '../errors/storage-error.js';
import { type ConfigMessage, parseConfigMessages } from '../haproxy/config/config-messages.js';
import { CannotCheckError } from '../haproxy/process/haproxy-binary.js';
import { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import { writeFileAtomic } from '../lib/atomic-file.js';
import type { StateDelta } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { PoolsReloader } from '../persistence/pools-reloader.js';
import { Settings } from '../settings/settings.js';
import { HaproxyReloadService, refusedConfiguration } from './haproxy-reload.service.js';

/** Checks and loads `pools.cfg` for PersistenceService, which is in a lower layer. */
@Injectable()
export class PoolsReloadService implements PoolsReloader {
  #checks = 0;

  constructor(
    persistence: PersistenceService,
    private readonly control: HaproxyControlService,
    private readonly reloads: HaproxyReloadService,
    private readonly settings: Settings,
  ) {
    persistence.useReloader(this);
  }

  async check(poolsText: string): Promise<void> {
    const { pools } = this.settings.files;
    const candidate = `${pools}.check${(this.#checks += 1)}`;
    try {
      await writeFileAtomic(candidate, poolsText);
      const { valid, output } = await this.control.checkWith({ pools: candidate });
      if (!valid) throw refusal(output, candidate, pools);
    } catch (error) {
      // The reload itself checks the files.
      if (!(error instanceof CannotCheckError)) throw asStorageError(error, pools);
    } finally {
      await rm(candidate, { force: true });
    }
  }

  load(change?: StateDelta): Promise<void> {
    return this.reloads.loadFiles(change);
  }

  async restore(): Promise<void> {
    await this.reloads.restore();
  }
}

/** `output` is of a check in which `candidate` was in the place of `pools`. */
function refusal(output: string, candidate: string, pools: string): AppError {
  const { errors } = parseConfigMessages(output);
  const isOfOptions = ({ file, message }: ConfigMessage): boolean =>
    file === candidate || (file === null && message.includes(candidate));
  const others = errors.filter(({ file }) => file !== null && file !== candidate);
  if (others.length > 0 || !errors.some((error) => isOfOptions(error)))
    return refusedConfiguration(
      'HAProxy refuses its configuration, so it cannot be reloaded, and nothing was changed. Correct the files, use {haproxy_check_config}, then repeat the call.',
      others.length > 0 ? others : errors,
    );
  const messages = errors.map(({ message }) => message.replaceAll(candidate, pools));
  const said = messages.length > 0 ? messages.slice(0, 3).join('; ') : output.slice(-500);
  return new AppError('validation_failed', `HAProxy refuses these options: ${said}. Nothing was changed.`);
}
