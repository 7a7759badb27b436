import { canonicalIp } from '../../model/addresses/ip-address.js';
import { parseMapKey } from '../../model/names/domain-name.js';
import type { RuntimeRouting } from '../../haproxy/runtime/runtime-routing.js';
import { State, type Pool } from '../../model/state.js';
import { isPoolName, isSuiteBackend, serverName } from '../../model/names/pool-name.js';
import { parseMapFile } from '../../storage/formats/domains-map.js';
import { findServerProblem, type PoolServers, type ServerSpec } from '../../model/server.js';

/** How many entries a log line names; `data/adoption.json` has all. */
const SHOWN = 20;
/** What `show servers state` prints for a server without an IP address. */
const NO_ADDRESS = '-';
const NO_SERVERS: PoolServers = new Map();

export interface Adoption {
  state: State;
  domains: number;
  servers: number;
  /** Slots without an address, in maintenance or not. They are free, because they serve nothing. */
  freeSlots: number;
  /** Domains that point at backends of the operator. */
  externalDomains: number;
  /** What was not adopted, each with the reason. */
  left: readonly string[];
  /** Pools with servers but without a domain. The suite leaves them alone until it gives a domain to them. */
  unmanagedPools: ReadonlySet<string>;
  /**
   * The pools of `unmanagedPools` that no new domain gets: rules or kept entries may route to them, or they have servers that the
   * state cannot represent.
   */
  reservedPools: ReadonlySet<string>;
  /** Entries of the map that the state cannot represent: key → value. `domains.map` keeps them. */
  kept: ReadonlyMap<string, string>;
}

/** What `adopt` knows beside the routing. */
interface AdoptionFacts {
  /** The text of the map file, which may hold names that HAProxy does not have. */
  mapText?: string;
  /** All backends of HAProxy, also those that are no pools. */
  backends?: ReadonlySet<string>;
  /** The pools that haproxy.cfg declares. */
  declared?: ReadonlySet<string>;
  /** The pools that a rule of haproxy.cfg names. */
  referenced?: ReadonlySet<string>;
}

/**
 * The first state of a suite beside a HAProxy in use: the names of HAProxy, and the servers of the pools that the names
 * point to, exactly as they are, so that a restore of this state changes nothing. A name that points at a backend of the
 * operator becomes a domain of an external pool. Pure.
 */
export function adopt(found: RuntimeRouting, facts: AdoptionFacts = {}): Adoption {
  const { mapText = '', backends = new Set<string>(), declared = new Set<string>(), referenced = [] } = facts;
  const left: string[] = [];
  const { names, externals, kept } = adoptNames(found, backends, left);
  left.push(
    ...onlyInFile(found, mapText),
    ...found.unmanagedServers.map((name) => `${name}: not named pool_N_S`),
  );

  const pools = new Map<string, Pool>();
  const unmanagedPools = new Set<string>();
  const reservedPools = new Set<string>();
  const foreign = poolsOf(found.unmanagedServers);
  let servers = 0;
  let freeSlots = 0;
  for (const name of new Set([...found.pools.keys(), ...foreign, ...names.keys()])) {
    const problems: string[] = [];
    const taken = adoptServers(name, found.pools.get(name) ?? NO_SERVERS, found.hostNames, problems);
    const isExact = problems.length === 0 && !foreign.has(name);
    left.push(...problems);
    const domains = names.get(name);
    if (domains && !isExact && declared.has(name)) {
      externals.set(name, domains);
      unmanagedPools.add(name);
      reservedPools.add(name);
      left.push(`${name}: its servers stay as haproxy.cfg declares them; the suite does not change them`);
      continue;
    }
    freeSlots += taken.free;
    if (domains) {
      pools.set(name, { domains, servers: taken.servers });
      servers += taken.servers.size;
      continue;
    }
    const active = [...taken.servers.values()].filter((server) => server.state !== 'maint').length;
    freeSlots += taken.servers.size - active;
    if (!isExact) reservedPools.add(name);
    if (active === 0) continue;
    unmanagedPools.add(name);
    left.push(`${name}: has ${active} server(s) in service, and no domain points at it`);
  }
  // The operator's rules or the kept entries may route to a pool without a domain. No other site may get its servers.
  for (const name of [...referenced, ...kept.values()])
    if (isPoolName(name) && !pools.has(name)) reservedPools.add(name);
  for (const name of reservedPools) unmanagedPools.add(name);
  let externalDomains = 0;
  for (const [name, domains] of externals) {
    pools.set(name, { domains, servers: NO_SERVERS, external: true });
    externalDomains += domains.length;
  }

  const state = new State(pools.size === 0 ? 0 : 1, pools);
  return {
    state,
    domains: state.domainCount,
    servers,
    freeSlots,
    externalDomains,
    left,
    unmanagedPools,
    reservedPools,
    kept,
  };
}

interface AdoptedNames {
  /** Pool → domains. */
  names: Map<string, string[]>;
  /** Backend of the operator → domains. */
  externals: Map<string, string[]>;
  kept: Map<string, string>;
}

function adoptNames(found: RuntimeRouting, backends: ReadonlySet<string>, left: string[]): AdoptedNames {
  const names = new Map<string, string[]>();
  const externals = new Map<string, string[]>();
  const kept = new Map<string, string>();
  const keep = (key: string, value: string, reason: string): void => {
    kept.set(key, value);
    left.push(`${key} ${value}: ${reason}. The line stays in the map`);
  };
  for (const [key, value] of found.domains) {
    const domain = parseMapKey(key);
    if (domain === undefined) keep(key, value, `${key} is not a domain or .domain (wildcard)`);
    else if (isPoolName(value)) append(names, value, domain);
    else if (isSuiteBackend(value)) keep(key, value, `${value} is a backend of the suite's own rules`);
    else if (backends.has(value)) append(externals, value, domain);
    else keep(key, value, `HAProxy has no backend ${value || 'without a name'}, so nothing serves the name`);
  }
  for (const { key, value } of found.duplicates)
    left.push(`${key} ${value}: an earlier entry of the same name wins`);
  return { names, externals, kept };
}

function append(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

/** The pools of servers that are not named pool_N_S. */
function poolsOf(unmanagedServers: readonly string[]): Set<string> {
  return new Set(unmanagedServers.map((name) => name.split('/', 1)[0] ?? ''));
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
    else if (ip === undefined && server.ip === NO_ADDRESS)
      left.push(`${name}: it has no IP address (for example a unix socket)`);
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
  { state, domains, servers, freeSlots, externalDomains, left }: Adoption,
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
    `${servers} servers (and ${freeSlots} free slots); ${externalDomains} of the domains point at backends of ` +
    `haproxy.cfg. Nothing was changed in HAProxy. ${leftOut}`
  );
}
