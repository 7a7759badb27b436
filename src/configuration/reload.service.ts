import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { AppError } from '../common/errors.js';
import { McpTool } from '../common/operation.js';
import { parseConfigMessages, type ConfigMessage } from '../haproxy/config-messages.js';
import { HaproxyControlService } from '../haproxy/haproxy-control.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { HaproxyWatchService } from '../reconciler/haproxy-watch.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { CheckResultDto, ReloadResultDto } from './configuration.dto.js';

/** A new worker reads every certificate before it answers. */
const NEW_WORKER_MS = 30_000;
const LOOK_MS = 20;

/** The operator's own configuration: is it right, and has HAProxy got it? */
@Injectable()
export class ReloadService {
  readonly #logger = new Logger('Configuration');

  constructor(
    private readonly control: HaproxyControlService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly watch: HaproxyWatchService,
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
    // The new worker reads the derived files too: an edit of those must not be served, however short.
    await this.reconciler.prepare();
    await this.persistence.rewriteDerived();
    const check = await this.check();
    if (!check.valid)
      throw refused('The configuration is refused; HAProxy goes on with the one it has.', check.errors);
    const before = await this.runtime.info();
    const { success, log } = await this.control.reload();
    const messages = parseConfigMessages(log);
    if (!success)
      throw refused(
        `The reload failed; HAProxy goes on with what it has: ${log.slice(-500)}`,
        messages.errors,
      );
    const pid = await this.#newWorker(before.pid);
    const { domains, servers, certificates } = await this.watch.adoptProcess(pid);
    const duration_ms = Math.round(performance.now() - started);
    this.#logger.log(`HAProxy was reloaded in ${duration_ms} ms (pid ${pid}, before ${before.pid})`);
    return {
      reloaded: true,
      restored: { domains, servers, certificates },
      duration_ms,
      warnings: check.warnings,
    };
  }

  async #newWorker(former: number): Promise<number> {
    const end = performance.now() + NEW_WORKER_MS;
    while (performance.now() < end) {
      const info = await this.runtime.info().catch(() => undefined);
      if (info && info.pid !== former) return info.pid;
      await delay(LOOK_MS);
    }
    throw new AppError(
      'haproxy_unavailable',
      `HAProxy was told to reload, but no new worker answered within ${NEW_WORKER_MS / 1000} s; the former one may ` +
        'serve on. See the log of HAProxy, and haproxy_health.',
    );
  }
}

function refused(detail: string, messages: readonly ConfigMessage[]): AppError {
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
