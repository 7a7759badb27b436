import { Injectable, Logger } from '@nestjs/common';
import { DryRunDto, type PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { Operation } from '../contract/operation.js';
import { AppError } from '../errors/app-error.js';
import { CannotCheckError } from '../haproxy/process/haproxy-binary.js';
import type { RestoreReport } from '../sync/haproxy-restore.service.js';
import { ConfigCheckService } from '../haproxy/config/check/config-check.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { SuiteRules } from '../haproxy/config/suite/suite-rules.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { describeRewrites } from '../contract/dry-run/describe-plan.js';
import { isSamePath } from '../lib/same-path.js';
import { HaproxyReloadService, refusedConfiguration } from '../sync/haproxy-reload.service.js';
import { CheckResultDto, ReloadResultDto } from './configuration.dto.js';

const REFUSED =
  'The configuration is refused, and HAProxy keeps the current one. Correct the files and try again.';
const CHECKED_BY_RELOAD =
  'The suite has no HAProxy binary (HAPROXY_BIN), so the running HAProxy checked the files when it loaded them.';
const RELOAD: PlanStepDto = {
  target: 'haproxy',
  action: 'reload',
  name: 'haproxy',
  text: 'haproxy is reloaded: a new worker reads the files and replaces the current worker',
};

/** Checks the operator's configuration and reloads HAProxy with it. */
@Injectable()
export class ConfigurationService {
  readonly #logger = new Logger('Configuration');

  constructor(
    private readonly checks: ConfigCheckService,
    private readonly rules: SuiteRules,
    private readonly persistence: PersistenceService,
    private readonly reloads: HaproxyReloadService,
    private readonly runtime: HaproxyRuntimeService,
  ) {}

  @Operation({
    name: 'haproxy_check_config',
    scope: 'all',
    command: 'config check',
    wanted: { valid: true },
    title: 'Check the configuration',
    description:
      'Lets HAProxy check suite.cfg, haproxy.cfg and pools.cfg without loading them, and checks what the suite relies on. ' +
      'Returns each error with file, line and what to write. ' +
      'Use it after you edit haproxy.cfg. Changes of domains and servers do not need it. Next: {haproxy_reload}.',
    output: CheckResultDto,
    readOnly: true,
    idempotent: true,
  })
  async check(): Promise<CheckResultDto> {
    const { valid, errors, warnings } = await this.checks.check();
    return { valid, errors, warnings };
  }

  @Operation({
    name: 'haproxy_reload',
    scope: 'all',
    title: 'Reload HAProxy',
    description:
      'Loads an edited haproxy.cfg into HAProxy. Checks the files first: if they have an error, nothing changes. A new ' +
      'worker replaces the old one; no request is lost. Domains, servers and certificates never need it. To check ' +
      'only, use {haproxy_check_config}.',
    output: ReloadResultDto,
    adminOnly: true,
    idempotent: true,
    errors: ['haproxy_rejected', 'haproxy_unavailable'],
  })
  reload({ dry_run }: DryRunDto): Promise<ReloadResultDto> {
    // A change between the read of the files by the new worker and its start would be lost.
    return this.persistence.exclusively(() => (dry_run ? this.#preview() : this.#reload()));
  }

  async #reload(): Promise<ReloadResultDto> {
    const started = performance.now();
    await this.persistence.rewriteDerived();
    const check = await this.#checkIfPossible();
    if (!check.valid) throw refusedConfiguration(REFUSED, check.errors);
    const { domains, servers, certificates } = check.isKnown
      ? await this.#reloadChecked()
      : await this.#reloadUnchecked();
    const duration_ms = Math.round(performance.now() - started);
    this.#logger.log(`HAProxy was reloaded in ${duration_ms} ms`);
    return {
      reloaded: true,
      restored: { domains, servers, certificates },
      duration_ms,
      warnings: check.warnings,
    };
  }

  async #checkIfPossible(): Promise<CheckResultDto & { isKnown: boolean }> {
    try {
      return { ...(await this.check()), isKnown: true };
    } catch (error) {
      if (!(error instanceof CannotCheckError)) throw error;
      const warnings = [{ file: null, line: null, message: CHECKED_BY_RELOAD }];
      return { valid: true, errors: [], warnings, isKnown: false };
    }
  }

  async #reloadChecked(): Promise<RestoreReport> {
    await this.rules.update();
    return this.reloads.reloadFiles();
  }

  /** The running HAProxy reads the files and decides. */
  async #reloadUnchecked(): Promise<RestoreReport> {
    const putBack = await this.rules.updateUnchecked();
    try {
      return await this.reloads.reloadFiles();
    } catch (error) {
      if (error instanceof AppError && error.code === 'haproxy_rejected') await putBack();
      throw error;
    }
  }

  async #preview(): Promise<ReloadResultDto> {
    const started = performance.now();
    const rewritten = await this.persistence.filesToRewrite();
    const check = await this.checks.check();
    // A reload rewrites these files first, so HAProxy's errors about them do not matter.
    const errors = check.errors.filter(
      (error) =>
        check.refused.includes(error) ||
        !rewritten.some(({ path }) => isAbout(path, error.file, error.message)),
    );
    if (errors.length > 0) throw refusedConfiguration(REFUSED, errors);
    await this.runtime.info();
    return {
      reloaded: false,
      restored: { domains: 0, servers: 0, certificates: 0 },
      duration_ms: Math.round(performance.now() - started),
      warnings: check.warnings,
      dry_run: true,
      plan: [...describeRewrites(rewritten), RELOAD],
    };
  }
}

/** Whether HAProxy complains about the file at `path`. HAProxy names a map as haproxy.cfg does, in `<…>` or quotes. */
function isAbout(path: string, file: string | null, message: string): boolean {
  const named = message.match(/[^\s<>'":,()]*\/[^\s<>'":,()]+/g) ?? [];
  return [...(file === null ? [] : [file]), ...named].some((name) => isSamePath(name, path));
}
