import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Logger } from '@nestjs/common';
import { writeFileAtomic } from '../../lib/atomic-file.js';
import type { Settings } from '../../settings/settings.js';
import { renderConfig } from './haproxy-cfg.template.js';

/**
 * Makes the folders that HAProxy needs and, only where it is missing, haproxy.cfg. True when it was written. The map
 * and pools.cfg, which it refers to, are the caller's to write.
 */
export async function ensureConfig(settings: Settings): Promise<boolean> {
  await mkdir(settings.folders.run, { recursive: true, mode: 0o755 });
  await mkdir(settings.folders.certs, { recursive: true, mode: 0o700 });
  await mkdir(dirname(settings.files.haproxyLog), { recursive: true });
  if (existsSync(settings.files.config)) {
    await tellUnpublished(settings);
    return false;
  }
  await writeFileAtomic(
    settings.files.config,
    renderConfig(settings, { ipv6: existsSync('/proc/net/if_inet6') }),
  );
  return true;
}

/** The file is the operator's by now, so what MCP_PUBLIC_HOST asks for cannot be written into it. */
async function tellUnpublished({ publicHost, files }: Settings): Promise<void> {
  if (publicHost === undefined || (await readFile(files.config, 'utf8')).includes(publicHost)) return;
  new Logger('Config').warn(
    `${files.config} does not name MCP_PUBLIC_HOST ${publicHost}, so /mcp is not reachable under it. The lines to add are in docs/security.md.`,
  );
}
