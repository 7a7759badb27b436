import { Injectable, Logger } from '@nestjs/common';
import { DryRunDto, type PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { Operation } from '../contract/operation.js';
import { parseConfigMessages } from '../haproxy/config/config-messages.js';
import { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { describeRewrites } from '../contract/dry-run/describe-plan.js';
import { HaproxyReloadService, refusedConfiguration } from '../sync/haproxy-reload.service.js';
import { CheckResultDto, ReloadResultDto } from './configuration.dto.js';

const REFUSED = 'The configuration is refused; HAProxy goes on with the one it has.';
const RELOAD: PlanStepDto = {
  target: 'haproxy',
  action: 'reload',
  name: 'haproxy',
  text: 'haproxy is reloaded: a new worker takes over with the files as they are then',
};

/** The operator's own configuration: is it right, and has HAProxy got it? */
@Injectable()
export class ReloadService {
  readonly #logger = new Logger('Configuration');

  constructor(
    private readonly control: HaproxyControlService,
    private readonly persistence: PersistenceService,
    private readonly reloads: HaproxyReloadService,
    private readonly runtime: HaproxyRuntimeService,
  ) {}

  @Operation({
    name: 'haproxy_check_config',
    title: 'Check the configuration',
    description:
      'Has HAProxy read haproxy.cfg and pools.cfg as a start would, without serving them, and says what is wrong with ' +
      'file and line. Use it after editing haproxy.cfg, before haproxy_reload. Domains and servers need neither.',
    output: CheckResultDto,
    readOnly: true,
    idempotent: true,
  })
  async check(): Promise<CheckResultDto> {
    const { valid, output } = await this.control.check();
    const { errors, warnings } = parseConfigMessages(output);
    if (!valid && errors.length === 0) errors.push({ file: null, line: null, message: output.slice(-500) });
    return { valid, errors, warnings };
  }

  @Operation({
    name: 'haproxy_reload',
    title: 'Reload HAProxy',
    description:
      'Has HAProxy load an edited haproxy.cfg: the files are checked first, and refused ones leave the running worker ' +
      'as it is; then a new worker takes over and no request is lost. Changes of domains, servers and certificates ' +
      'never need it. haproxy_check_config only checks.',
    output: ReloadResultDto,
    idempotent: true,
    errors: ['haproxy_rejected', 'haproxy_unavailable'],
  })
  reload({ dry_run }: DryRunDto): Promise<ReloadResultDto> {
    // No change may fall between the moment the new worker reads the files and the moment it takes over.
    return this.persistence.exclusively(() => (dry_run ? this.#preview() : this.#reload()));
  }

  async #reload(): Promise<ReloadResultDto> {
    const started = performance.now();
    await this.persistence.rewriteDerived();
    const check = await this.check();
    if (!check.valid) throw refusedConfiguration(REFUSED, check.errors);
    const { domains, servers, certificates } = await this.reloads.reloadFiles();
    const duration_ms = Math.round(performance.now() - started);
    this.#logger.log(`HAProxy was reloaded in ${duration_ms} ms`);
    return {
      reloaded: true,
      restored: { domains, servers, certificates },
      duration_ms,
      warnings: check.warnings,
    };
  }

  async #preview(): Promise<ReloadResultDto> {
    const started = performance.now();
    const rewritten = await this.persistence.filesToRewrite();
    const check = await this.check();
    // What is wrong in a file that is written anew first would keep nothing from working.
    const errors = check.errors.filter(
      ({ file, message }) => !rewritten.some(({ path }) => file === path || message.includes(path)),
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
