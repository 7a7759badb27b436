import { Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import type { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import type { Settings } from '../settings/settings.js';
import type { ReconcilerService } from '../reconciler/reconciler.service.js';

/**
 * A HAProxy that was started before HAPROXY_POOL_COUNT was raised (the suite takes it over, or runs beside it) lacks
 * pools that its files have since. Before 3.4 only a reload brings them.
 */
export class PoolReload {
  readonly #logger = new Logger('Pools');
  /** What the last reload was for: one that did not bring it is not repeated. */
  #tried = '';

  constructor(
    private readonly reconciler: ReconcilerService,
    private readonly control: HaproxyControlService,
    private readonly settings: Settings,
  ) {}

  /**
   * True where HAProxy was told to reload. Somebody else's HAProxy is reloaded only for pools that have servers: an
   * adopted one may do well without the others. Call it with no change under way.
   */
  async reloadIfNeeded(): Promise<boolean> {
    const missing = await this.reconciler.poolsToReload(this.settings.control === 'managed');
    const wanted = missing.join(' ');
    if (wanted === '' || wanted === this.#tried) return false;
    this.#tried = wanted;
    this.#logger.warn(
      `HAProxy does not have ${missing.length} pool(s) of ${this.settings.files.pools} (${missing[0]}, …) and is reloaded`,
    );
    try {
      const { success, log } = await this.control.reload();
      if (!success) this.#logger.error(`The reload failed: ${log.slice(-500)}`);
      return success;
    } catch (error) {
      this.#logger.error(`HAProxy could not be reloaded: ${messageOf(error)}`);
      return false;
    }
  }
}
