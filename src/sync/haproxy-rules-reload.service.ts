import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { CannotCheckError } from '../haproxy/process/haproxy-binary.js';
import { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import { SuiteRules } from '../haproxy/config/suite/suite-rules.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';

/** A new worker reads every certificate before it answers. */
const NEW_WORKER_MS = 30_000;
const POLL_MS = 20;

/** Loads suite.cfg into a HAProxy that runs with other rules, for example after an upgrade of the suite. */
@Injectable()
export class HaproxyRulesReload {
  readonly #logger = new Logger('HaproxyRulesReload');
  /** The version that the last reload was for. If that reload did not load it, it is not repeated. */
  #reloadedFor: string | undefined;

  constructor(
    private readonly rules: SuiteRules,
    private readonly control: HaproxyControlService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly settings: Settings,
  ) {}

  /**
   * Reloads HAProxy once if its rules differ from suite.cfg. Returns whether there is a new worker, which needs a
   * restore. Does not reload after a first start beside a HAProxy in use, nor a HAProxy that the suite did not start and
   * that has no suite.cfg, because a reload would not read it. Logs errors and throws none of the reload. Call it while
   * no change is under way (`PersistenceService.exclusively`).
   *
   * @throws AppError haproxy_unavailable
   */
  async reloadIfNeeded(): Promise<boolean> {
    if (this.persistence.hasAdopted) return false;
    if (this.rules.isUpdatePending) await this.rules.updateAtStart();
    const wanted = await this.rules.versionOnDisk();
    if (wanted === undefined || wanted === this.#reloadedFor) return false;
    const loaded = await this.runtime.loadedRules();
    if (loaded === wanted || (loaded === undefined && this.settings.control !== 'managed')) return false;
    this.#reloadedFor = wanted;
    this.#logger.warn(
      `HAProxy runs with ${loaded === undefined ? 'no rules' : `version ${loaded} of the rules`} of the suite, and ${this.settings.files.suite} has ${wanted}; the suite reloads HAProxy`,
    );
    try {
      const { valid, errors } = await this.rules.check().catch((error: unknown) => {
        // The reload itself checks the files.
        if (error instanceof CannotCheckError) return { valid: true, errors: [] };
        throw error;
      });
      if (!valid) throw new Error(errors.map(({ message }) => message).join('; '));
      const { success, log } = await this.control.reload();
      if (!success) throw new Error(log.slice(-500));
      return await this.#hasLoaded(wanted);
    } catch (error) {
      this.#logger.error(
        `HAProxy continues with the rules that it has. Use {haproxy_check_config}, then {haproxy_reload}: ${messageOf(error)}`,
      );
      return false;
    }
  }

  async #hasLoaded(wanted: string): Promise<boolean> {
    const end = performance.now() + NEW_WORKER_MS;
    while (performance.now() < end) {
      const loaded = await this.runtime.loadedRules().catch(() => undefined);
      if (loaded === wanted) return true;
      await delay(POLL_MS);
    }
    throw new Error(`no worker with the new rules answered within ${NEW_WORKER_MS / 1000} s`);
  }
}
