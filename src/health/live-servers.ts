import { serverName } from '../model/names/pool-name.js';
import type { ServerStatusRow } from '../haproxy/runtime/server-status.js';
import type { ServerSpec } from '../model/server.js';
import type { MatchedDomain } from '../model/names/domain-match.js';
import type { Pool, StateReader } from '../model/state.js';
import { domainStatus } from './health-rules.js';
import type { DomainHealthDto, ServerHealthDto } from './server-health.dto.js';

/** How many domains of its pool a server in an answer names. */
const DOMAINS_SHOWN = 10;

/** A saved server with its status in HAProxy. */
export interface LiveServer {
  name: string;
  pool: Pool;
  slot: number;
  server: ServerSpec;
  live: ServerStatusRow | undefined;
}

/** The saved servers of these pools, by slot, each with its status row. Pure. */
export function liveServers(
  state: StateReader,
  pools: readonly string[],
  rows: readonly ServerStatusRow[],
): LiveServer[] {
  const rowOf = new Map(rows.map((row) => [serverName(row.pool, row.slot), row]));
  return pools.flatMap((name) => {
    const pool = state.pool(name);
    return pool ? serversOf(name, pool, rowOf) : [];
  });
}

/** The health of a domain from the status rows of its pool. `failure`: why HAProxy could not be read. Pure. */
export function domainHealth(
  state: StateReader,
  domain: string,
  { matched, pool }: MatchedDomain,
  { rows, failure }: { rows: readonly ServerStatusRow[]; failure?: string },
): DomainHealthDto {
  const servers = liveServers(state, [pool], rows);
  const facts = servers.map(({ server, live }) => ({
    status: live?.status ?? ('unknown' as const),
    weight: live?.weight ?? server.weight,
  }));
  const { status, healthy_count, detail } = domainStatus(facts);
  return {
    status,
    detail: failure === undefined || servers.length === 0 ? detail : failure,
    domain,
    matched,
    pool,
    servers: servers.map((server) => describe(server)),
    healthy_count,
    total: servers.length,
  };
}

export function describe({ name, pool, slot, server, live }: LiveServer): ServerHealthDto {
  return {
    slot,
    name: serverName(name, slot),
    ip: server.ip,
    http_port: server.http_port,
    weight: server.weight,
    state: server.state,
    status: live?.status ?? 'unknown',
    connections: live?.connections ?? 0,
    pool: name,
    domains: pool.domains.slice(0, DOMAINS_SHOWN),
    last_check: live?.lastCheck ?? '',
  };
}

function serversOf(name: string, pool: Pool, rowOf: ReadonlyMap<string, ServerStatusRow>): LiveServer[] {
  return [...pool.servers]
    .toSorted(([a], [b]) => a - b)
    .map(([slot, server]) => ({ name, pool, slot, server, live: rowOf.get(serverName(name, slot)) }));
}
