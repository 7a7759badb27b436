import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Logger } from '@nestjs/common';
import { writeFileAtomic } from '../../lib/atomic-file.js';
import type { Settings } from '../../settings/settings.js';
import { renderConfig } from './haproxy-cfg.template.js';

/**
 * Creates the folders that HAProxy needs, and writes haproxy.cfg if it does not exist. Returns whether it wrote the
 * file. haproxy.cfg refers to the map file and starts together with pools.cfg; the caller writes these two.
 */
export async function ensureConfig(settings: Settings): Promise<boolean> {
  await mkdir(settings.folders.run, { recursive: true, mode: 0o755 });
  await mkdir(settings.folders.certs, { recursive: true, mode: 0o700 });
  await mkdir(dirname(settings.files.haproxyLog), { recursive: true });
  if (existsSync(settings.files.config)) {
    await warnIfPublicHostMissing(settings);
    return false;
  }
  await writeFileAtomic(
    settings.files.config,
    renderConfig(settings, { ipv6: existsSync('/proc/net/if_inet6') }),
  );
  return true;
}

/** The operator owns an existing haproxy.cfg, so the suite cannot add the lines for MCP_PUBLIC_HOST itself. */
async function warnIfPublicHostMissing({ publicHost, files }: Settings): Promise<void> {
  if (publicHost === undefined || (await readFile(files.config, 'utf8')).includes(publicHost)) return;
  new Logger('Config').warn(
    `${files.config} does not contain the MCP_PUBLIC_HOST ${publicHost}, so HAProxy does not serve /mcp under that name. Add the lines from docs/security.md to the file and reload HAProxy.`,
  );
}
