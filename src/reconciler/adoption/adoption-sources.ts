import { AppError } from '../../errors/app-error.js';
import { type ConfigSection, parseConfig } from '../../haproxy/config/config-parser.js';
import { configServers, declaredPools } from '../../haproxy/config/config-servers.js';
import type { HaproxyRuntimeService } from '../../haproxy/haproxy-runtime.service.js';
import { routingOf, type RuntimeRouting } from '../../haproxy/runtime/runtime-routing.js';
import { parseServersState } from '../../haproxy/parsers/server-state.parser.js';
import type { Settings } from '../../settings/settings.js';
import { isPoolName } from '../../model/names/pool-name.js';
import { parseMapFile } from '../../storage/formats/domains-map.js';
import { readTextIfPresent } from '../../haproxy/config/operator-config.js';

/** What can be adopted, and where it is from. */
interface AdoptionSource {
  source: string;
  routing: RuntimeRouting;
  /** All backends, also those that are no pools. */
  backends: ReadonlySet<string>;
}

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
): Promise<AdoptionSource> {
  try {
    const routing = await runtime.readRouting();
    return { source: 'the running HAProxy', routing, backends: new Set(await runtime.backendNames()) };
  } catch (error) {
    const isUnavailable = error instanceof AppError && error.code === 'haproxy_unavailable';
    if (settings.control !== 'managed' || !isUnavailable) throw error;
    return { source: 'the files of the stopped HAProxy', ...(await readFiles(settings, mapText)) };
  }
}

async function readFiles(settings: Settings, mapText: string): Promise<Omit<AdoptionSource, 'source'>> {
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
  const all = sections.filter(({ keyword }) => keyword === 'backend' || keyword === 'listen');
  const routing = routingOf([...rows.values()], entries, [...backends]);
  return {
    routing: {
      ...routing,
      unmanagedServers: [...routing.unmanagedServers, ...unreadServers(sections, rows)],
    },
    backends: new Set(all.map(({ name }) => name)),
  };
}

/** Servers of pools that are declared with something else than an IP address, and that the dump does not have. */
function unreadServers(sections: readonly ConfigSection[], rows: ReadonlyMap<string, unknown>): string[] {
  return sections
    .filter(({ keyword, name }) => (keyword === 'backend' || keyword === 'listen') && isPoolName(name))
    .flatMap(({ name, lines }) =>
      lines
        .filter(({ words }) => words[0] === 'server' || words[0] === 'server-template')
        .map(({ words }) => words[1] ?? '')
        .filter((server) => !rows.has(server))
        .map((server) => `${name}/${server}`),
    );
}
