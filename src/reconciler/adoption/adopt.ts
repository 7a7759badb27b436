import { canonicalIp } from '../../model/ip-address.js';
import { parseMapKey } from '../../model/domain-name.js';
import type { RuntimeRouting } from '../../haproxy/runtime/runtime-routing.js';
import { State, type Pool } from '../../model/state.js';
import { serverName, isPoolName } from '../../model/pool-name.js';
import { parseMapFile } from '../../storage/formats/domains-map.js';
import { findServerProblem, type ServerSpec } from '../../model/server.js';

/** How many entries a log line names; `data/adoption.json` has all. */
const SHOWN = 20;

export interface Adoption {
  state: State;
  domains: number;
  servers: number;
  /** Slots without an address, in maintenance or not. They are free, because they serve nothing. */
  freeSlots: number;
  /** What was not adopted, each with the reason. */
  left: readonly string[];
  /** Pools with servers but without a domain. The suite leaves them alone until it gives a domain to them. */
  leftPools: ReadonlySet<string>;
}

/**
 * The first state of a suite beside a HAProxy in use: the names of HAProxy, and the servers of the pools that the names
 * point to, exactly as they are, so that a restore of this state changes nothing. Pure. `mapText` is the text of the
 * map file, which may hold names that HAProxy does not have.
 */
export function adopt(found: RuntimeRouting, mapText = ''): Adoption {
  const left: string[] = [];
  const names = adoptNames(found, left);
  left.push(...onlyInFile(found, mapText), ...found.strangers.map((name) => `${name}: not named pool_N_S`));

  const pools = new Map<string, Pool>();
  const leftPools = new Set<string>();
  let servers = 0;
  let freeSlots = 0;
  for (const [name, slots] of found.pools) {
    const taken = adoptServers(name, slots, found.hostNames, left);
    freeSlots += taken.free;
    const domains = names.get(name);
    if (domains) {
      pools.set(name, { domains, servers: taken.servers });
      servers += taken.servers.size;
      continue;
    }
    const active = [...taken.servers.values()].filter((server) => server.state !== 'maint').length;
    freeSlots += taken.servers.size - active;
    if (active === 0) continue;
    leftPools.add(name);
    left.push(`${name}: has ${active} server(s) in service, and no domain points at it`);
  }
  for (const [name, domains] of names) if (!pools.has(name)) pools.set(name, { domains, servers: new Map() });

  const state = new State(pools.size === 0 ? 0 : 1, pools);
  return { state, domains: state.domainCount, servers, freeSlots, left, leftPools };
}

function adoptNames(found: RuntimeRouting, left: string[]): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const [key, pool] of found.domains) {
    const domain = parseMapKey(key);
    if (!isPoolName(pool)) left.push(`${key} ${pool}: ${pool || 'nothing'} is not a pool (pool_N)`);
    else if (domain === undefined) left.push(`${key} ${pool}: ${key} is not a domain or .domain (wildcard)`);
    else names.set(pool, [...(names.get(pool) ?? []), domain]);
  }
  for (const { key, value } of found.duplicates)
    left.push(`${key} ${value}: an earlier entry of the same name wins`);
  return names;
}

function onlyInFile(found: RuntimeRouting, mapText: string): string[] {
  return parseMapFile(mapText)
    .filter(([key]) => !found.domains.has(key))
    .map(([key, value]) => `${key} ${value}: in the map file, but not in HAProxy`);
}

function adoptServers(
  pool: string,
  slots: ReadonlyMap<number, ServerSpec>,
  hostNames: ReadonlyMap<string, string>,
  left: string[],
): { servers: Map<number, ServerSpec>; free: number } {
  const servers = new Map<number, ServerSpec>();
  let free = 0;
  for (const [slot, server] of slots) {
    const name = serverName(pool, slot);
    const hostName = hostNames.get(name);
    const ip = canonicalIp(server.ip);
    if (ip === undefined && hostName !== undefined)
      left.push(`${name}: its host name ${hostName} has no address now`);
    else if (ip === undefined) free += 1;
    else {
      const adopted = { ...server, ip };
      const problem = findServerProblem({ slot, ...adopted });
      if (problem) {
        left.push(`${name}: ${problem.field} ${String(problem.value)} is not ${problem.allowed}`);
        continue;
      }
      servers.set(slot, adopted);
      if (hostName !== undefined)
        left.push(`${name}: adopted with the address ${ip}; its host name ${hostName} is ignored`);
    }
  }
  return { servers, free };
}

/** The log line about an adoption; undefined if there was nothing to adopt. */
export function describeAdoption(
  { state, domains, servers, freeSlots, left }: Adoption,
  source: string,
  files: { servers: string; adoption: string },
): string | undefined {
  if (domains === 0 && left.length === 0) return undefined;
  const more = left.length > SHOWN ? `; and ${left.length - SHOWN} more` : '';
  const leftOut =
    left.length === 0
      ? 'Nothing was left out.'
      : `Not adopted, or only in part: ${left.slice(0, SHOWN).join('; ')}${more}. ${files.adoption} lists all, and ` +
        '"Adopting an existing HAProxy" in docs/operations.md says what to do next.';
  return (
    `There is no ${files.servers}; the suite adopts ${source}: ${domains} domains in ${state.pools.size} pools with ` +
    `${servers} servers (and ${freeSlots} free slots). Nothing was changed in HAProxy. ${leftOut}`
  );
}
