import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../errors/app-error.js';
import type { Settings } from '../../settings/settings.js';
import { processFindings } from '../config/check/check-start.js';
import { describeMessage, findRequirements } from '../config/check/find-requirements.js';
import { type ConfigSection, parseConfig } from '../config/config-parser.js';
import { readTextIfPresent } from '../config/operator-config.js';
import type { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { formatAddress } from '../runtime/transport.js';
import { newConfig } from '../config/config-file.js';
import { checkConfiguration, errorLines, requireVersion } from './haproxy-binary.js';
import { takenBinds } from './port-owners.js';
import { configurationFiles } from './start-files.js';

/** How long the worker of a killed master may still answer and hold its ports. */
const FOREIGN_EXIT_LIMIT_MS = 2_000;
const FOREIGN_POLL_MS = 50;

/**
 * Two HAProxies must not share a Runtime API address: each would get commands for the other.
 *
 * @throws AppError haproxy_unavailable
 */
export async function rejectForeignHaproxy(
  settings: Settings,
  runtime: Pick<HaproxyRuntimeService, 'info'>,
): Promise<void> {
  const deadline = performance.now() + FOREIGN_EXIT_LIMIT_MS;
  for (;;) {
    const info = await runtime.info().catch(() => undefined);
    if (!info) return;
    if (performance.now() > deadline)
      throw new AppError(
        'haproxy_unavailable',
        `Another HAProxy (pid ${info.pid}) uses the Runtime API address ${formatAddress(settings.runtime)}, and its master does not answer on ${formatAddress(settings.master)}. ` +
          'Stop that HAProxy, or choose another address with HAPROXY_PORT or HAPROXY_SOCKET (and HAPROXY_CONTROL=managed), or let the suite control that HAProxy with HAPROXY_CONTROL=master and HAPROXY_MASTER_SOCKET.',
      );
    await delay(FOREIGN_POLL_MS);
  }
}

/**
 * Checks what a first start needs, before it creates HAPROXY_HOME: the binary, the rights and the ports. Changes nothing.
 *
 * @throws AppError haproxy_unavailable
 */
export async function checkFirstStart(settings: Settings): Promise<void> {
  await requireVersion(settings.haproxyBin);
  const { config } = settings.files;
  const sections = parseConfig(newConfig(settings), config);
  refuseStart(processFindings(sections, settings).errors);
  refuseTaken(await takenBinds(sections), 'or set HAPROXY_HTTP_BIND and HAPROXY_HTTPS_BIND');
}

/**
 * Checks that HAProxy can start with the files: what the suite relies on, the syntax, and the ports. Changes nothing.
 *
 * @throws AppError haproxy_unavailable
 */
export async function checkStartFiles(settings: Settings): Promise<void> {
  const { config } = settings.files;
  // HAProxy reads its files while the suite reads them. HAProxy reports a file that cannot be read.
  const [{ valid, output }, findings, sections] = await Promise.all([
    checkConfiguration(settings.haproxyBin, configurationFiles(settings.files)),
    findRequirements(settings),
    readTextIfPresent(config).then(
      (text) => parseConfig(text, config),
      () => [],
    ),
  ]);
  // First, because HAProxy's own message about what is missing does not say what to write.
  refuseStart([
    ...findings.filter(({ level }) => level === 'prevents_start'),
    ...processFindings(sections, settings).errors,
  ]);
  if (!valid)
    throw new AppError(
      'haproxy_unavailable',
      `HAProxy rejects its configuration. Correct it and start again:\n${errorLines(output)}`,
    );
  refuseTaken(await bindsInUse(sections), `or change the bind lines of ${config}`);
}

function refuseStart(missing: Parameters<typeof describeMessage>[0][]): void {
  if (missing.length > 0)
    throw new AppError(
      'haproxy_unavailable',
      `The suite cannot work with this configuration. Correct it and start again:\n${missing.map((one) => describeMessage(one)).join('\n')}`,
    );
}

function refuseTaken(binds: readonly string[], otherwise: string): void {
  if (binds.length > 0)
    throw new AppError(
      'haproxy_unavailable',
      `Another process already listens on ${binds.join(', ')}, and this HAProxy would get only a part of the requests. Find it with "ss -ltnp", stop it, and start again; ${otherwise}.`,
    );
}

/**
 * The `bind` addresses on which another process listens. Another HAProxy on the same ports would answer a part of the
 * requests, for example one that an earlier suite left. Waits a short time for a worker that is about to exit.
 */
async function bindsInUse(sections: readonly ConfigSection[]): Promise<string[]> {
  const deadline = performance.now() + FOREIGN_EXIT_LIMIT_MS;
  for (;;) {
    const taken = await takenBinds(sections);
    if (taken.length === 0 || performance.now() > deadline) return taken;
    await delay(FOREIGN_POLL_MS);
  }
}
