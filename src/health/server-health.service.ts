import { Injectable } from '@nestjs/common';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { messageOf } from '../errors/app-error.js';
import { Operation } from '../contract/operation.js';
import { McpResource } from '../contract/resource.js';
import { firstAfter, keyOfCursor, type Page, paginate } from '../contract/pages/page.js';
import { poolSortKey, serverName } from '../model/pool-name.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { ServerStatus, ServerStatusRow } from '../haproxy/runtime/server-status.js';
import type { ServerSpec } from '../model/server.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { type Pool, requireOwnPool, requirePool } from '../model/state.js';
import { externalHealth } from './external-health.js';
import { domainStatus } from './health-rules.js';
import {
  DomainHealthDto,
  ListServerHealthDto,
  type ServerHealthDto,
  ServerHealthListDto,
} from './server-health.dto.js';

/** How many domains of its pool a server in an answer names. */
const DOMAINS_SHOWN = 10;

/** The health of domains and servers, from the health checks of HAProxy. */
@Injectable()
export class ServerHealthService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
  ) {}

  @Operation({
    name: 'haproxy_domain_health',
    title: 'Health of a domain',
    description:
      'Tells whether a domain can be served: healthy (all servers up), degraded (some), down (none) or no_servers, ' +
      'with the status and the last health check of each server. If HAProxy does not answer, the status is down and ' +
      'detail says why. Use it if one domain fails. For HAProxy itself use haproxy_health.',
    output: DomainHealthDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  @McpResource({
    uri: 'haproxy://domains/{domain}',
    name: 'domain',
    title: 'A domain',
    description:
      'One domain, as haproxy_domain_health shows it: its pool, whether it can be served, and its servers with weight, ' +
      'state and status.',
    mimeType: 'application/json',
    changesWith: ['routing'],
  })
  async domain({ domain }: DomainRefDto): Promise<DomainHealthDto> {
    const { name, pool } = requirePool(this.persistence.state, domain);
    if (pool.external) return { domain, pool: name, ...(await externalHealth(this.runtime, name)) };
    const { rows, failure } = await this.#readStatuses([name]);
    const servers = this.#liveServers([name], rows).map((server) => describe(server));
    const { status, healthy_count, detail } = domainStatus(servers);
    return {
      status,
      detail: failure === undefined || servers.length === 0 ? detail : failure,
      domain,
      pool: name,
      servers,
      healthy_count,
      total: servers.length,
    };
  }

  @Operation({
    name: 'haproxy_get_server_health',
    title: 'Health of servers',
    description:
      'Lists servers, by pool and slot, with the status that HAProxy reports and the result of the last health check. ' +
      'Use status=DOWN to find broken servers, and domain for one domain. If HAProxy does not answer, each is "unknown". ' +
      'Next: haproxy_domain_health, to see if a domain is served.',
    output: ServerHealthListDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found', 'pool_external'],
  })
  async servers(input: ListServerHealthDto): Promise<ServerHealthListDto> {
    const { state } = this.persistence;
    const only = input.domain === undefined ? undefined : requireOwnPool(state, input.domain);
    if (only || input.status !== undefined) {
      const status = input.status === 'unknown' ? undefined : input.status;
      const { rows } = await this.#readStatuses(only && [only.name], status);
      const servers = this.#liveServers(only ? [only.name] : state.sortedPools(), rows).filter(
        ({ live }) => input.status === undefined || (live?.status ?? 'unknown') === input.status,
      );
      return describePage(paginate(servers, sortKey, input));
    }
    return this.#pageOfAll(input);
  }

  /** One page of all servers. Asks HAProxy only for the pools of this page. */
  async #pageOfAll(input: ListServerHealthDto): Promise<ServerHealthListDto> {
    const { state } = this.persistence;
    const pools = state.sortedPools();
    const count = (name: string): number => state.pool(name)?.servers.size ?? 0;
    let total = 0;
    for (const { servers } of state.pools.values()) total += servers.size;
    const cursor = keyOfCursor(input)?.split('_', 1)[0];
    let next = cursor === undefined ? 0 : firstAfter(pools, poolSortKey, cursor);
    if (next > 0 && poolSortKey(pools[next - 1] ?? '') === cursor) next -= 1;
    const shown: string[] = [];
    // The first pool does not count, because the previous page can contain its servers.
    for (let missing = input.limit + 1; missing > 0 && next < pools.length; next += 1) {
      const name = pools[next];
      if (name === undefined || count(name) === 0) continue;
      shown.push(name);
      if (shown.length > 1) missing -= count(name);
    }
    const { rows } = await this.#readStatuses(shown);
    return { ...describePage(paginate(this.#liveServers(shown, rows), sortKey, input)), total };
  }

  /** The saved servers of these pools, in order, each with its status row. */
  #liveServers(pools: readonly string[], rows: readonly ServerStatusRow[]): LiveServer[] {
    const rowOf = new Map(rows.map((row) => [serverName(row.pool, row.slot), row]));
    return pools.flatMap((name) => {
      const pool = this.persistence.state.pool(name);
      return pool ? serversOf(name, pool, rowOf) : [];
    });
  }

  /** All pools without `pools`, and any status without `status`. `failure`: why HAProxy could not be read. */
  async #readStatuses(
    pools?: readonly string[],
    status?: ServerStatus,
  ): Promise<{ rows: readonly ServerStatusRow[]; failure?: string }> {
    try {
      return { rows: await this.runtime.serverStatuses(pools, status) };
    } catch (error) {
      return { rows: [], failure: messageOf(error) };
    }
  }
}

/** A saved server with its status in HAProxy. */
interface LiveServer {
  name: string;
  pool: Pool;
  slot: number;
  server: ServerSpec;
  live: ServerStatusRow | undefined;
}

function serversOf(name: string, pool: Pool, rowOf: ReadonlyMap<string, ServerStatusRow>): LiveServer[] {
  return [...pool.servers]
    .toSorted(([a], [b]) => a - b)
    .map(([slot, server]) => ({ name, pool, slot, server, live: rowOf.get(serverName(name, slot)) }));
}

function describePage({ items, ...page }: Page<LiveServer>): ServerHealthListDto {
  return { items: items.map((server) => describe(server)), ...page };
}

function describe({ name, pool, slot, server, live }: LiveServer): ServerHealthDto {
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

function sortKey({ name, slot }: LiveServer): string {
  return `${poolSortKey(name)}_${String(slot).padStart(4, '0')}`;
}
