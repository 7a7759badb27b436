import { Injectable } from '@nestjs/common';
import { McpResource } from '../common/resource.js';
import type { ServerSpec } from '../common/routing.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { poolNumber } from '../persistence/state.js';

/** Pools in one answer, and domains of one pool: a model reads all of it. */
const POOLS_SHOWN = 100;
const DOMAINS_SHOWN = 100;

export interface RoutingOverview {
  /** Grows by one with each change. */
  revision: number;
  domain_count: number;
  pool_count: number;
  server_count: number;
  pools: {
    pool: string;
    domains: string[];
    domain_count: number;
    servers: ({ slot: number } & ServerSpec)[];
  }[];
  /** How to see the rest, where not all is shown. */
  note?: string;
}

/** The desired state at one glance. */
@Injectable()
export class RoutingOverviewService {
  constructor(private readonly persistence: PersistenceService) {}

  @McpResource({
    uri: 'haproxy://state',
    name: 'state',
    title: 'Routing state',
    description:
      'The saved state: its revision, and the first 100 pools with their domains and servers. What HAProxy says of them ' +
      'now is in haproxy://domains/{domain}.',
    mimeType: 'application/json',
    changesWith: ['routing'],
  })
  async overview(): Promise<RoutingOverview> {
    const { state } = this.persistence;
    const pools = [...state.pools].toSorted(([a], [b]) => (poolNumber(a) ?? 0) - (poolNumber(b) ?? 0));
    const cut = pools.length > POOLS_SHOWN || pools.some(([, pool]) => pool.domains.length > DOMAINS_SHOWN);
    return {
      revision: state.revision,
      domain_count: state.domainCount,
      pool_count: pools.length,
      server_count: pools.reduce((sum, [, pool]) => sum + pool.servers.size, 0),
      pools: pools.slice(0, POOLS_SHOWN).map(([name, pool]) => ({
        pool: name,
        domains: pool.domains.slice(0, DOMAINS_SHOWN),
        domain_count: pool.domains.length,
        servers: [...pool.servers]
          .toSorted(([a], [b]) => a - b)
          .map(([slot, server]) => Object.assign({ slot }, server)),
      })),
      ...(cut && { note: 'Not all is shown: haproxy_list_domains and haproxy_list_servers show the rest.' }),
    };
  }
}
