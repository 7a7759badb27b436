import type { Routing } from '../../model/routing.js';
import { canonicalIp } from '../../model/addresses/ip-address.js';
import { isPoolName, slotOf } from '../../model/names/pool-name.js';
import type { HaproxyCapabilities } from './capabilities.js';
import type { MapEntry } from '../parsers/map.parser.js';
import type { ProcessIdentity } from './process-identity.js';
import type { ServerStateRow } from '../parsers/server-state.parser.js';
import type { ServerSpec } from '../../model/server.js';

/** The routing of a running HAProxy, in the shape of the desired state, with data that only a running HAProxy has. */
export interface RuntimeRouting extends Routing {
  readonly domains: Map<string, string>;
  /** Every slot that exists. Parked slots and unused static slots are included, in maintenance. */
  readonly pools: ReadonlyMap<string, ReadonlyMap<number, ServerSpec>>;
  /** The backends named pool_N, also those without servers. */
  readonly backends: ReadonlySet<string>;
  /** Map entries without effect, because an earlier entry has the same key. `deleteEntries` removes them. */
  readonly duplicates: readonly MapEntry[];
  /** Servers configured with a host name: server name → host name. Their `ip` is the resolved address. */
  readonly hostNames: ReadonlyMap<string, string>;
  /** The names of servers without a health check. */
  readonly unchecked: ReadonlySet<string>;
  /** Servers in pools whose name is not pool_N_S, such as `pool_1/web`. */
  readonly unmanagedServers: readonly string[];
  /** Names of the servers that HAProxy connects to with TLS. */
  readonly tls: ReadonlySet<string>;
}

/** The routing of a HAProxy that answered, with the process that answered and its capabilities. */
export interface LiveRouting extends RuntimeRouting {
  readonly process: ProcessIdentity;
  readonly capabilities: HaproxyCapabilities;
  /** The tags of the options that the process has loaded, by pool (`optionsTag`). */
  readonly options: ReadonlyMap<string, string>;
}

/** Pure. Ignores backends that are not named pool_N, and their servers. */
export function routingOf(
  servers: readonly ServerStateRow[],
  entries: readonly MapEntry[],
  backendNames: readonly string[],
): RuntimeRouting {
  const pools = new Map<string, Map<number, ServerSpec>>();
  const backends = new Set(backendNames.filter(isPoolName));
  const hostNames = new Map<string, string>();
  const unmanagedServers: string[] = [];
  const unchecked = new Set<string>();
  const tls = new Set<string>();
  for (const row of servers) {
    if (!backends.has(row.backend)) continue;
    const slot = slotOf(row.backend, row.server);
    if (slot === undefined) {
      unmanagedServers.push(`${row.backend}/${row.server}`);
      continue;
    }
    if (row.hasNoCheck) unchecked.add(row.server);
    if (row.tls) tls.add(row.server);
    if (row.hostName !== undefined) hostNames.set(row.server, row.hostName);
    const slots = pools.get(row.backend) ?? new Map<number, ServerSpec>();
    slots.set(slot, {
      ip: canonicalIp(row.address) ?? row.address,
      http_port: row.port,
      weight: row.weight,
      state: row.state,
    });
    pools.set(row.backend, slots);
  }
  const domains = new Map<string, string>();
  const duplicates: MapEntry[] = [];
  for (const entry of entries) {
    if (domains.has(entry.key)) duplicates.push(entry);
    else domains.set(entry.key, entry.value);
  }
  return { domains, pools, backends, duplicates, hostNames, unchecked, unmanagedServers, tls };
}

/** Parses `show backend`: a line `# name`, then one backend name on each line. */
export function parseBackends(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}
