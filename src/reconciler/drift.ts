import type { Routing } from '../model/routing.js';
import { domainOfMapKey } from '../model/names/domain-name.js';
import { serverName } from '../model/names/pool-name.js';
import { serverAddress, type ServerSpec } from '../model/server.js';
import { isSameRecord } from '../model/sites/site-maps.js';

/** One difference between the desired state and HAProxy or a derived file. */
export type Difference =
  | { kind: 'domain_missing'; domain: string; wanted: string }
  | { kind: 'domain_extra'; domain: string; found: string }
  | { kind: 'domain_elsewhere'; domain: string; wanted: string; found: string }
  | { kind: 'site_differs'; domain: string }
  | { kind: 'server_missing'; server: string; wanted: string }
  | { kind: 'server_extra'; server: string; found: string }
  | {
      kind: 'server_address' | 'server_weight' | 'server_state';
      server: string;
      wanted: string;
      found: string;
    }
  | {
      kind: 'pool_setting' | 'server_setting';
      /** A keyword of haproxy.cfg, such as `balance` or `maxconn`. */
      setting: string;
      /** The first pool or server with the value `found`. */
      name: string;
      /** How many pools or servers have the value `found`. */
      count: number;
      wanted: string;
      found: string;
    }
  /** Pools that HAProxy runs with other options than saved: how many, and the first. */
  | { kind: 'pool_options'; name: string; count: number }
  | { kind: 'file_missing' | 'file_differs' | 'state_edited'; file: string };

/** Pure; one pass over both sides. `actual` is `RoutingView.routing`, which leaves out what the suite does not manage. */
export function compareRouting(actual: Routing, desired: Routing): Difference[] {
  const differences: Difference[] = [];
  for (const [key, wanted] of desired.domains) {
    const found = actual.domains.get(key);
    if (found === wanted) continue;
    const domain = domainOfMapKey(key);
    differences.push(
      found === undefined
        ? { kind: 'domain_missing', domain, wanted }
        : { kind: 'domain_elsewhere', domain, wanted, found },
    );
  }
  for (const [key, found] of actual.domains)
    if (!desired.domains.has(key))
      differences.push({ kind: 'domain_extra', domain: domainOfMapKey(key), found });

  const { sites } = actual;
  if (sites && desired.sites)
    for (const key of new Set([...desired.sites.keys(), ...sites.keys()]))
      if (!isSameRecord(sites.get(key) ?? [], desired.sites.get(key) ?? []))
        differences.push({ kind: 'site_differs', domain: domainOfMapKey(key) });

  for (const [pool, servers] of desired.pools) {
    const present = actual.pools.get(pool);
    for (const [slot, wanted] of servers) {
      const found = present?.get(slot);
      if (found !== wanted) differences.push(...compareServer(serverName(pool, slot), found, wanted));
    }
  }
  for (const [pool, servers] of actual.pools) {
    const wanted = desired.pools.get(pool);
    for (const [slot, found] of servers)
      if (!wanted?.has(slot))
        differences.push({
          kind: 'server_extra',
          server: serverName(pool, slot),
          found: describeServer(found),
        });
  }
  return differences;
}

function compareServer(server: string, found: ServerSpec | undefined, wanted: ServerSpec): Difference[] {
  if (!found) return [{ kind: 'server_missing', server, wanted: describeServer(wanted) }];
  const differences: Difference[] = [];
  const [foundAt, wantedAt] = [serverAddress(found), serverAddress(wanted)];
  if (foundAt !== wantedAt)
    differences.push({ kind: 'server_address', server, wanted: wantedAt, found: foundAt });
  if (found.weight !== wanted.weight)
    differences.push({
      kind: 'server_weight',
      server,
      wanted: String(wanted.weight),
      found: String(found.weight),
    });
  if (found.state !== wanted.state)
    differences.push({ kind: 'server_state', server, wanted: wanted.state, found: found.state });
  return differences;
}

/** One sentence for the log and for operators. */
export function describeDifference(difference: Difference): string {
  switch (difference.kind) {
    case 'domain_missing':
      return `domain ${difference.domain} is missing in HAProxy (belongs to ${difference.wanted})`;
    case 'domain_extra':
      return `domain ${difference.domain} is in HAProxy (${difference.found}) and not in the saved state`;
    case 'domain_elsewhere':
      return `domain ${difference.domain} goes to ${difference.found} instead of ${difference.wanted}`;
    case 'site_differs':
      return `the options of ${difference.domain} in HAProxy are not those of the saved state`;
    case 'server_missing':
      return `server ${difference.server} is missing in HAProxy (${difference.wanted})`;
    case 'server_extra':
      return `server ${difference.server} is in HAProxy (${difference.found}) and not in the saved state`;
    case 'server_address':
    case 'server_weight':
    case 'server_state':
      return `server ${difference.server} has ${difference.kind.slice('server_'.length)} ${difference.found} instead of ${difference.wanted}`;
    case 'pool_setting':
    case 'server_setting':
      return describeSetting(difference);
    case 'pool_options':
      return `${difference.name}${difference.count > 1 ? ` and ${difference.count - 1} more have` : ' has'} other pool options in HAProxy than saved; {haproxy_reload} applies the saved ones`;
    case 'file_missing':
      return `file ${difference.file} is missing`;
    case 'file_differs':
      return `file ${difference.file} is not as the suite wrote it`;
    default:
      return `file ${difference.file} was edited while the suite runs; the next change overwrites it (stop the suite to edit it)`;
  }
}

function describeSetting({
  kind,
  setting,
  name,
  count,
  wanted,
  found,
}: Extract<Difference, { kind: 'pool_setting' | 'server_setting' }>): string {
  const noun = kind === 'pool_setting' ? 'pool' : 'server';
  const names = count === 1 ? `${noun} ${name} has` : `${noun} ${name} and ${count - 1} more have`;
  return `${names} ${setting} ${found || 'not set'} instead of ${wanted || 'not set'} ("defaults pools" of haproxy.cfg); {haproxy_reload} applies it`;
}

/** The first `limit` differences, and the number of the others. */
export function describeDifferences(differences: readonly Difference[], limit: number): string {
  const shown = differences.slice(0, limit).map((difference) => describeDifference(difference));
  const more = differences.length - shown.length;
  return shown.join('; ') + (more > 0 ? `; and ${more} more` : '');
}

function describeServer(server: ServerSpec): string {
  return `${serverAddress(server)} weight ${server.weight} ${server.state}`;
}
