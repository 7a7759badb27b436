import { AppError } from '../../errors/app-error.js';
import { configServers } from '../../haproxy/config/config-servers.js';
import { declaredPools } from '../../haproxy/config/declared-pools.js';
import type { HaproxyRuntimeService } from '../../haproxy/haproxy-runtime.service.js';
import { routingOf, type RuntimeRouting } from '../../haproxy/runtime/runtime-routing.js';
import { parseServersState } from '../../haproxy/parsers/server-state.parser.js';
import type { Settings } from '../../settings/settings.js';
import { parseMapFile } from '../../storage/formats/domains-map.js';
import { readTextIfPresent } from '../../haproxy/config/operator-config.js';

/**
 * What there is to adopt. A running HAProxy knows best. Where it does not run because the suite is to start it, the
 * files it would start from say it: its configuration, and the last `show servers state` dump on top.
 *
 * @throws AppError haproxy_unavailable or haproxy_rejected where someone else runs HAProxy: it may only be out of reach
 */
export async function findRouting(
  runtime: HaproxyRuntimeService,
  settings: Settings,
  mapText: string,
): Promise<{ source: string; routing: RuntimeRouting }> {
  try {
    return { source: 'the running HAProxy', routing: await runtime.readRouting() };
  } catch (error) {
    const away = error instanceof AppError && error.code === 'haproxy_unavailable';
    if (settings.control !== 'managed' || !away) throw error;
    return { source: 'its files, as HAProxy does not run', routing: await routingOfFiles(settings, mapText) };
  }
}

async function routingOfFiles(settings: Settings, mapText: string): Promise<RuntimeRouting> {
  const { config, pools, state } = settings.files;
  const configs = [await readTextIfPresent(config), await readTextIfPresent(pools)];
  const rows = new Map(configs.flatMap((text) => configServers(text)).map((row) => [row.server, row]));
  const dump = await readTextIfPresent(state);
  // The dump was taken from what ran; a slot that it shows without an address was empty then.
  if (dump !== '') for (const row of parseServersState(dump)) rows.set(row.server, row);
  const backends = new Set<string>();
  for (const text of configs) for (const pool of declaredPools(text)) backends.add(pool);
  for (const row of rows.values()) backends.add(row.backend);
  const entries = parseMapFile(mapText).map(([key, value]) => ({ ref: '', key, value }));
  return routingOf([...rows.values()], entries, [...backends]);
}
