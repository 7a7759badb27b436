import type { Routing } from '../../model/routing.js';
import { canonicalIp } from '../../model/ip-address.js';
import { isPoolName, slotOf } from '../../model/pool-name.js';
import type { HaproxyCapabilities } from './capabilities.js';
import type { MapEntry } from '../parsers/map.parser.js';
import type { ProcessIdentity } from './process-identity.js';
import type { ServerStateRow } from '../parsers/server-state.parser.js';
import type { ServerSpec } from '../../model/server.js';

/** What a running HAProxy has, in the shape of the desired state, and what that shape cannot say. */
export interface RuntimeRouting extends Routing {
  /** Every slot that exists, parked and static ones (in maintenance) included. */
  readonly pools: ReadonlyMap<string, ReadonlyMap<number, ServerSpec>>;
  /** The backends named pool_N, with or without servers. */
  readonly backends: ReadonlySet<string>;
  /** Map entries that an earlier entry of the same key hides. `HaproxyRuntimeService.deleteEntries` removes them. */
  readonly duplicates: readonly MapEntry[];
  /** Servers configured with a host name: server name → host name. Their `ip` is what it resolved to. */
  readonly hostNames: ReadonlyMap<string, string>;
  /** Servers of pools that are not named pool_N_S, as `pool_1/web`. */
  readonly strangers: readonly string[];
}

/** The same of a HAProxy that runs: who answered, and what it can do. */
export interface LiveRouting extends RuntimeRouting {
  readonly process: ProcessIdentity;
  readonly capabilities: HaproxyCapabilities;
}

/** Pure. Backends, servers and map entries that are not the suite's are left out. */
export function routingOf(
  servers: readonly ServerStateRow[],
  entries: readonly MapEntry[],
  backendNames: readonly string[],
): RuntimeRouting {
  const pools = new Map<string, Map<number, ServerSpec>>();
  const backends = new Set(backendNames.filter(isPoolName));
  const hostNames = new Map<string, string>();
  const strangers: string[] = [];
  for (const row of servers) {
    if (!backends.has(row.backend)) continue;
    const slot = slotOf(row.backend, row.server);
    if (slot === undefined) {
      strangers.push(`${row.backend}/${row.server}`);
      continue;
    }
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
  return { domains, pools, backends, duplicates, hostNames, strangers };
}

/** The names of `show backend`: a line `# name`, then one backend a line. */
export function parseBackends(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}
