import { Injectable } from '@nestjs/common';
import { DomainRefDto } from '../common/domain-ref.dto.js';
import { messageOf } from '../common/errors.js';
import { McpTool } from '../common/operation.js';
import { McpResource } from '../common/resource.js';
import { paginate } from '../common/page.js';
import { serverName } from '../common/routing.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { ServerStatusRow } from '../haproxy/server-status.js';
import { requirePool } from '../persistence/lookup.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { poolNumber, type Pool } from '../persistence/state.js';
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

  @McpTool({
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
    const { name, pool } = requirePool(this.persistence.state, domain);
    const { seen, failure } = await this.#look(name);
    const servers = describe(name, pool, seen);
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

  @McpTool({
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
    const pools: (readonly [string, Pool])[] = one
      ? [[one.name, one.pool]]
      : [...state.pools].toSorted(([a], [b]) => (poolNumber(a) ?? 0) - (poolNumber(b) ?? 0));
    const { seen } = await this.#look(one?.name);
    const byPool = new Map<string, ServerStatusRow[]>();
    for (const row of seen) byPool.set(row.pool, [...(byPool.get(row.pool) ?? []), row]);
    const found = pools
      .flatMap(([name, pool]) => describe(name, pool, byPool.get(name) ?? []))
      .filter(({ status }) => input.status === undefined || status === input.status);
    return paginate(found, ({ pool, slot }) => sortKey(pool, slot), input);
  }

  async #look(pool?: string): Promise<{ seen: readonly ServerStatusRow[]; failure?: string }> {
    try {
      return { seen: await this.runtime.serverStatuses(pool) };
    } catch (error) {
      return { seen: [], failure: messageOf(error) };
    }
  }
}

function describe(name: string, pool: Pool, seen: readonly ServerStatusRow[]): ServerHealthDto[] {
  const domains = pool.domains.slice(0, DOMAINS_SHOWN);
  return [...pool.servers]
    .toSorted(([a], [b]) => a - b)
    .map(([slot, server]) => {
      const live = seen.find((row) => row.slot === slot);
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
        domains,
        last_check: live?.lastCheck ?? '',
      };
    });
}

/** Sorts by number, whatever the number of digits. */
function sortKey(pool: string, slot: number): string {
  return `${String(poolNumber(pool) ?? 0).padStart(6, '0')}_${String(slot).padStart(4, '0')}`;
}
