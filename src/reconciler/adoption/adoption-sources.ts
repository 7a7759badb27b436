import { AppError } from '../../errors/app-error.js';
import { parseConfig } from '../../haproxy/config/config-parser.js';
import { configServers, declaredPools } from '../../haproxy/config/config-servers.js';
import type { HaproxyRuntimeService } from '../../haproxy/haproxy-runtime.service.js';
import { routingOf, type RuntimeRouting } from '../../haproxy/runtime/runtime-routing.js';
import { parseServersState } from '../../haproxy/parsers/server-state.parser.js';
import type { Settings } from '../../settings/settings.js';
import { parseMapFile } from '../../storage/formats/domains-map.js';
import { readTextIfPresent } from '../../haproxy/config/operator-config.js';

/**
 * Reads what can be adopted: from the running HAProxy, or in managed mode without a running HAProxy from the files that
 * it would start with (its configuration, then the last `show servers state` dump).
 *
 * @throws AppError haproxy_unavailable, haproxy_rejected. In the other modes HAProxy may run and only be unreachable.
 */
export async function findRouting(
  runtime: HaproxyRuntimeService,
  settings: Settings,
  mapText: string,
): Promise<{ source: string; routing: RuntimeRouting }> {
  try {
    return { source: 'the running HAProxy', routing: await runtime.readRouting() };
  } catch (error) {
    const isUnavailable = error instanceof AppError && error.code === 'haproxy_unavailable';
    if (settings.control !== 'managed' || !isUnavailable) throw error;
    return { source: 'the files of the stopped HAProxy', routing: await routingOfFiles(settings, mapText) };
  }
}

async function routingOfFiles(settings: Settings, mapText: string): Promise<RuntimeRouting> {
  const { config, pools, state } = settings.files;
  const sections = [
    ...parseConfig(await readTextIfPresent(config), config),
    ...parseConfig(await readTextIfPresent(pools), pools),
  ];
  const rows = new Map(configServers(sections).map((row) => [row.server, row]));
  const dump = await readTextIfPresent(state);
  // The dump is from the running HAProxy: a slot without an address in the dump was free.
  if (dump !== '') for (const row of parseServersState(dump)) rows.set(row.server, row);
  const backends = declaredPools(sections);
  for (const row of rows.values()) backends.add(row.backend);
  const entries = parseMapFile(mapText).map(([key, value]) => ({ ref: '', key, value }));
  return routingOf([...rows.values()], entries, [...backends]);
}
