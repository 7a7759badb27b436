import { Injectable } from '@nestjs/common';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { Operation } from '../contract/operation.js';
import { McpResource } from '../contract/resource.js';
import { firstAfter, keyOfCursor, type Page, paginate } from '../contract/pages/page.js';
import { poolSortKey } from '../model/names/pool-name.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { ServerStatus } from '../haproxy/runtime/server-status.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { requireOwnPool, type State } from '../model/state.js';
import { orFailure, readDomainHealth, type ReadStatuses } from './domain-health.js';
import { describe, type LiveServer, liveServers } from './live-servers.js';
import { DomainHealthDto, ListServerHealthDto, ServerHealthListDto } from './server-health.dto.js';

/** The health of domains and servers, from the health checks of HAProxy. */
@Injectable()
export class ServerHealthService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly workers: HaproxyWorkers,
  ) {}

  @Operation({
    name: 'haproxy_domain_health',
    scope: 'view',
    command: 'domains health',
    wanted: { status: ['healthy', 'degraded'] },
    title: 'Health of a domain',
    description:
      'Tells whether a domain can be served: healthy (every server passed a health check and gets requests), degraded ' +
      '(some), down (none), checking (no check has finished yet) or no_servers, and why. A host under a wildcard is ' +
      'answered by the wildcard (matched). If HAProxy does not answer, it is down. Next: {haproxy_explain}.',
    output: DomainHealthDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  @McpResource({
    uri: 'haproxy://domains/{domain}',
    scope: 'view',
    name: 'domain',
    title: 'A domain',
    description:
      'One domain, as {haproxy_domain_health} shows it: its pool, whether it can be served, and its servers with weight, ' +
      'state and status.',
    mimeType: 'application/json',
    changesWith: ['routing'],
  })
  async domain({ domain }: DomainRefDto): Promise<DomainHealthDto> {
    return readDomainHealth(this.persistence.visible, domain, this.runtime, (pool) =>
      this.workers.serverStatuses([pool]),
    );
  }

  @Operation({
    name: 'haproxy_get_server_health',
    scope: 'view',
    command: 'servers health',
    title: 'Health of servers',
    description:
      'Lists servers, by pool and slot, with the status that HAProxy reports and the result of the last health check. ' +
      'Use status=DOWN to find broken servers, domain for one domain, and ip for one address. If HAProxy does not answer, each is "unknown". ' +
      'Next: {haproxy_domain_health}, to see if a domain is served.',
    output: ServerHealthListDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found', 'pool_external'],
  })
  async servers(input: ListServerHealthDto): Promise<ServerHealthListDto> {
    const state = this.persistence.visible;
    const only = input.domain === undefined ? undefined : requireOwnPool(state, input.domain);
    if (only || input.status !== undefined || input.ip !== undefined) {
      const status = input.status === 'unknown' ? undefined : input.status;
      const pools = poolsWith(state, input.ip, only ? [only.name] : state.sortedPools());
      const { rows } = await this.#readStatuses(only || input.ip !== undefined ? pools : undefined, status);
      const servers = liveServers(state, pools, rows).filter(
        ({ server, live }) =>
          (input.status === undefined || (live?.status ?? 'unknown') === input.status) &&
          (input.ip === undefined || server.ip === input.ip),
      );
      return describePage(paginate(servers, sortKey, input));
    }
    return this.#pageOfAll(input);
  }

  /** One page of all servers. Asks HAProxy only for the pools of this page. */
  async #pageOfAll(input: ListServerHealthDto): Promise<ServerHealthListDto> {
    const state = this.persistence.visible;
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
    return { ...describePage(paginate(liveServers(state, shown, rows), sortKey, input)), total };
  }

  /** All pools without `pools`, and any status without `status`. */
  #readStatuses(pools?: readonly string[], status?: ServerStatus): Promise<ReadStatuses> {
    return orFailure(this.workers.serverStatuses(pools, status));
  }
}

/** Those of the pools that have a server of this address; all without an address. */
function poolsWith(state: State, ip: string | undefined, pools: readonly string[]): readonly string[] {
  if (ip === undefined) return pools;
  return pools.filter((name) =>
    [...(state.pool(name)?.servers.values() ?? [])].some((server) => server.ip === ip),
  );
}

function describePage({ items, ...page }: Page<LiveServer>): ServerHealthListDto {
  return { items: items.map((server) => describe(server)), ...page };
}

function sortKey({ name, slot }: LiveServer): string {
  return `${poolSortKey(name)}_${String(slot).padStart(4, '0')}`;
}
