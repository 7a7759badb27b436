import { Injectable } from '@nestjs/common';
import { McpResource } from '../contract/resource.js';
import type { ServerSpec } from '../model/server.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { Pool } from '../model/state.js';

/** A model reads the whole answer, so it has at most this many pools, and domains and servers per pool. */
const POOLS_SHOWN = 100;
const DOMAINS_SHOWN = 100;
const SERVERS_SHOWN = 100;

interface PoolOverview {
  pool: string;
  /** True for a backend of the operator, which has servers of its own. */
  external?: true;
  domains: string[];
  domain_count: number;
  servers: ({ slot: number } & ServerSpec)[];
  server_count: number;
}

interface RoutingOverview {
  /** Increases by one with each commit. */
  revision: number;
  domain_count: number;
  pool_count: number;
  server_count: number;
  pools: PoolOverview[];
  /** How to read the rest, if the answer is not complete. */
  note?: string;
}

/** The desired state in one MCP resource. */
@Injectable()
export class RoutingOverviewService {
  constructor(private readonly persistence: PersistenceService) {}

  @McpResource({
    uri: 'haproxy://state',
    scope: 'view',
    name: 'state',
    title: 'Routing state',
    description:
      'The saved state: its revision, and the first 100 pools with their domains and servers. For the status in HAProxy ' +
      'read haproxy://domains/{domain}.',
    mimeType: 'application/json',
    changesWith: ['routing'],
  })
  async overview(): Promise<RoutingOverview> {
    const state = this.persistence.visible;
    const names = state.sortedPools();
    const shown = names.slice(0, POOLS_SHOWN).flatMap((name) => {
      const pool = state.pool(name);
      return pool ? [describePool(name, pool)] : [];
    });
    const isCut =
      names.length > POOLS_SHOWN ||
      shown.some(
        (pool) => pool.domain_count > pool.domains.length || pool.server_count > pool.servers.length,
      );
    let server_count = 0;
    for (const pool of state.pools.values()) server_count += pool.servers.size;
    return {
      revision: state.revision,
      domain_count: state.domainCount,
      pool_count: names.length,
      server_count,
      pools: shown,
      ...(isCut && {
        note: 'This is not all: {haproxy_list_domains} and {haproxy_list_servers} show the rest.',
      }),
    };
  }
}

function describePool(name: string, { domains, servers, external }: Pool): PoolOverview {
  return {
    pool: name,
    ...(external && { external }),
    domains: domains.slice(0, DOMAINS_SHOWN),
    domain_count: domains.length,
    servers: [...servers]
      .toSorted(([a], [b]) => a - b)
      .slice(0, SERVERS_SHOWN)
      .map(([slot, server]) => Object.assign({ slot }, server)),
    server_count: servers.size,
  };
}
