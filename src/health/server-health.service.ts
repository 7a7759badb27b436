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
import { type Pool, requirePool } from '../model/state.js';
import { domainStatus } from './health-rules.js';
import {
  DomainHealthDto,
  ListServerHealthDto,
  type ServerHealthDto,
  ServerHealthListDto,
} from './server-health.dto.js';

const DOMAINS_SHOWN = 10;

/** How domains and their servers are, as HAProxy's health checks see them. */
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
      'Says whether a domain can be served: healthy (all servers up), degraded (some), down (none) or no_servers, ' +
      'with each server, its status and what its last health check found. While HAProxy does not answer the status is ' +
      'down and detail says why. Use it when one domain fails; haproxy_health tells about HAProxy itself.',
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
      'One domain, as haproxy_domain_health shows it: its pool, its servers with weight, state and status, and whether ' +
      'it can be served.',
    mimeType: 'application/json',
    changesWith: ['routing'],
  })
  async domain({ domain }: DomainRefDto): Promise<DomainHealthDto> {
    const { name } = requirePool(this.persistence.state, domain);
    const { seen, failure } = await this.#look([name]);
    const servers = this.#found([name], seen).map((found) => describe(found));
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
      'Lists servers with the status that HAProxy reports and what the last health check found, by pool and slot. ' +
      'status=DOWN finds what is broken; domain narrows to one. While HAProxy does not answer each is "unknown". Whether a ' +
      'domain as a whole can be served is told by haproxy_domain_health.',
    output: ServerHealthListDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  async servers(input: ListServerHealthDto): Promise<ServerHealthListDto> {
    const { state } = this.persistence;
    const one = input.domain === undefined ? undefined : requirePool(state, input.domain);
    if (one || input.status !== undefined) {
      const wanted = input.status === 'unknown' ? undefined : input.status;
      const { seen } = await this.#look(one && [one.name], wanted);
      const found = this.#found(one ? [one.name] : state.sortedPools(), seen).filter(
        ({ live }) => input.status === undefined || (live?.status ?? 'unknown') === input.status,
      );
      return described(paginate(found, sortKey, input));
    }
    return this.#page(input);
  }

  /** One page of all servers. HAProxy is asked for the pools of this page only. */
  async #page(input: ListServerHealthDto): Promise<ServerHealthListDto> {
    const { state } = this.persistence;
    const pools = state.sortedPools();
    const count = (name: string): number => state.pool(name)?.servers.size ?? 0;
    let total = 0;
    for (const { servers } of state.pools.values()) total += servers.size;
    const cursor = keyOfCursor(input)?.split('_', 1)[0];
    let next = cursor === undefined ? 0 : firstAfter(pools, poolSortKey, cursor);
    if (next > 0 && poolSortKey(pools[next - 1] ?? '') === cursor) next -= 1;
    const shown: string[] = [];
    // Of the first pool, servers may have been shown before.
    for (let room = input.limit + 1; room > 0 && next < pools.length; next += 1) {
      const name = pools[next];
      if (name === undefined || count(name) === 0) continue;
      shown.push(name);
      if (shown.length > 1) room -= count(name);
    }
    const { seen } = await this.#look(shown);
    return { ...described(paginate(this.#found(shown, seen), sortKey, input)), total };
  }

  /** The servers of these pools, in order. */
  #found(pools: readonly string[], seen: readonly ServerStatusRow[]): FoundServer[] {
    const rows = new Map(seen.map((row) => [serverName(row.pool, row.slot), row]));
    return pools.flatMap((name) => {
      const pool = this.persistence.state.pool(name);
      return pool ? serversOf(name, pool, rows) : [];
    });
  }

  async #look(
    pools?: readonly string[],
    status?: ServerStatus,
  ): Promise<{ seen: readonly ServerStatusRow[]; failure?: string }> {
    try {
      return { seen: await this.runtime.serverStatuses(pools, status) };
    } catch (error) {
      return { seen: [], failure: messageOf(error) };
    }
  }
}

/** A server and what HAProxy sees of it. */
interface FoundServer {
  name: string;
  pool: Pool;
  slot: number;
  server: ServerSpec;
  live: ServerStatusRow | undefined;
}

function serversOf(name: string, pool: Pool, rows: ReadonlyMap<string, ServerStatusRow>): FoundServer[] {
  return [...pool.servers]
    .toSorted(([a], [b]) => a - b)
    .map(([slot, server]) => ({ name, pool, slot, server, live: rows.get(serverName(name, slot)) }));
}

/** Only what is shown is described: a page of 10,000 servers. */
function described({ items, ...page }: Page<FoundServer>): ServerHealthListDto {
  return { items: items.map((found) => describe(found)), ...page };
}

function describe({ name, pool, slot, server, live }: FoundServer): ServerHealthDto {
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

function sortKey({ name, slot }: FoundServer): string {
  return `${poolSortKey(name)}_${String(slot).padStart(4, '0')}`;
}
