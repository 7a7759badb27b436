import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Logger } from '@nestjs/common';
import { asStorageError } from '../../errors/storage-error.js';
import { writeFileAtomic } from '../../lib/atomic-file.js';
import { readGroups, readUsers } from '../../lib/machine/users.js';
import type { Settings } from '../../settings/settings.js';
import { currentStarter, type Starter } from './check/process-requirements.js';
import { renderConfig } from './haproxy-cfg.template.js';
import { createMissingSiteMaps, renderSuiteFile } from './suite/suite-file.js';

/**
 * Creates the folders that HAProxy needs, and writes haproxy.cfg if it does not exist; then also suite.cfg, if that does
 * not exist either. haproxy.cfg starts together with suite.cfg and pools.cfg, and
 * suite.cfg refers to the map file. The caller writes pools.cfg and the map, and updates an existing suite.cfg
 * (SuiteRules).
 */
export async function ensureConfig(settings: Settings): Promise<void> {
  try {
    await mkdir(settings.folders.run, { recursive: true, mode: 0o755 });
    await mkdir(settings.folders.certs, { recursive: true, mode: 0o700 });
    await mkdir(dirname(settings.files.haproxyLog), { recursive: true });
  } catch (error) {
    throw asStorageError(error, settings.home);
  }
  if (existsSync(settings.files.config)) {
    await warnIfPublicHostMissing(settings);
    return;
  }
  await writeFileAtomic(settings.files.config, newConfig(settings));
  if (!existsSync(settings.files.suite)) {
    const { text, errors } = await renderSuiteFile(settings);
    await createMissingSiteMaps(settings);
    if (errors.length === 0) await writeFileAtomic(settings.files.suite, text);
  }
}

/** The haproxy.cfg of a new installation on this machine. */
export function newConfig(settings: Settings): string {
  const ipv6 = existsSync('/proc/net/if_inet6');
  return renderConfig(settings, { ipv6, haproxyUser: canBecomeHaproxy(settings.control, currentStarter()) });
}

/** The Quadlet of deploy/quadlet. Its HAProxy has the users of the image, and may not become another user. */
export const QUADLET = '/etc/containers/systemd/haproxy.container';

/**
 * Whether HAProxy starts as root and can become the user haproxy of Debian's package. With `systemd` and `master` the suite
 * does not know the user of HAProxy, and takes it to be its own.
 */
function canBecomeHaproxy(control: Settings['control'], { uid, canChangeUser }: Starter): boolean {
  if (uid !== 0 || control === 'podman' || existsSync(QUADLET)) return false;
  if (control === 'managed' && !canChangeUser) return false;
  return [readUsers(), readGroups()].every((entries) => entries.some(({ name }) => name === 'haproxy'));
}

/** suite.cfg has the rules for MCP_PUBLIC_HOST, but only frontends that use `suite_web` have these rules. */
async function warnIfPublicHostMissing({ publicHost, files }: Settings): Promise<void> {
  if (publicHost === undefined) return;
  const text = await readFile(files.config, 'utf8');
  if (text.includes(publicHost) || /^\s*frontend\s+\S+\s+from\s+suite_web\b/m.test(text)) return;
  new Logger('Config').warn(
    `No frontend of ${files.config} uses the rules of the suite (from suite_web), so HAProxy does not serve /mcp under the MCP_PUBLIC_HOST ${publicHost}. Make the edits of docs/upgrade.md and reload HAProxy.`,
  );
}
