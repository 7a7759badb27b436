import { Injectable, Logger } from '@nestjs/common';
import { McpTool } from '../common/operation.js';
import { parseConfigMessages } from '../haproxy/config-messages.js';
import { HaproxyControlService } from '../haproxy/haproxy-control.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { HaproxyReloadService, refusedConfiguration } from '../reconciler/haproxy-reload.service.js';
import { CheckResultDto, ReloadResultDto } from './configuration.dto.js';

/** The operator's own configuration: is it right, and has HAProxy got it? */
@Injectable()
export class ReloadService {
  readonly #logger = new Logger('Configuration');

  constructor(
    private readonly control: HaproxyControlService,
    private readonly persistence: PersistenceService,
    private readonly reloads: HaproxyReloadService,
  ) {}

  @McpTool({
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

  @McpTool({
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
  reload(): Promise<ReloadResultDto> {
    // No change may fall between the moment the new worker reads the files and the moment it takes over.
    return this.persistence.exclusively(() => this.#reload());
  }

  async #reload(): Promise<ReloadResultDto> {
    const started = performance.now();
    await this.reloads.prepareFiles();
    const check = await this.check();
    if (!check.valid)
      throw refusedConfiguration(
        'The configuration is refused; HAProxy goes on with the one it has.',
        check.errors,
      );
    const { domains, servers, certificates } = await this.reloads.reload();
    const duration_ms = Math.round(performance.now() - started);
    this.#logger.log(`HAProxy was reloaded in ${duration_ms} ms`);
    return {
      reloaded: true,
      restored: { domains, servers, certificates },
      duration_ms,
      warnings: check.warnings,
    };
  }
}
