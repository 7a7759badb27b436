import { Injectable } from '@nestjs/common';
import { McpTool } from '../common/operation.js';
import { paginate } from '../common/page.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { isPoolName, slotOf } from '../haproxy/runtime-routing.js';
import { requirePool } from '../persistence/lookup.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { State } from '../persistence/state.js';
import { byKey, poolKey } from './pool-order.js';
import { processOf, scopeOf, statOf } from './stat-view.js';
import { type StatDto, StatsDto, StatsQueryDto } from './stats.dto.js';

const ORDER = { frontend: 'a', backend: 'b', server: 'b' } as const;

/** HAProxy's counters as typed numbers. */
@Injectable()
export class StatsService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
  ) {}

  @McpTool({
    name: 'haproxy_stats',
    title: 'Traffic statistics',
    description:
      'Sessions, requests, responses by class, errors, bytes, rates and times of frontends, backends and servers, ' +
      'and of the process as a whole. Pools without a domain and their empty slots are left out unless ' +
      'include_unused is set. Narrow with scope and domain: the answer of a large installation is long.',
    output: StatsDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  async stats(input: StatsQueryDto): Promise<StatsDto> {
    const { state } = this.persistence;
    const pool = input.domain === undefined ? undefined : requirePool(state, input.domain).name;
    const [info, rows] = await Promise.all([this.runtime.info(), this.runtime.stats(pool)]);
    const found: StatDto[] = [];
    for (const row of rows) {
      const scope = scopeOf(row);
      if (scope === undefined || (input.scope !== undefined && scope !== input.scope)) continue;
      const used =
        scope === 'server' ? isWanted(state, row.proxy, row.service) : isWanted(state, row.proxy, undefined);
      if (used || input.include_unused) found.push(statOf(row, scope));
    }
    const page = paginate(byKey(found, keyOf), keyOf, input);
    return { process: processOf(info), ...page, note: noteOf(input, state.pools.size) };
  }
}

/** Whether a line is of something in use; what is not named as a pool is the operator's own, and always is. */
function isWanted(state: State, proxy: string, server: string | undefined): boolean {
  if (!isPoolName(proxy)) return true;
  const pool = state.pool(proxy);
  if (!pool || server === undefined) return pool !== undefined;
  const slot = slotOf(proxy, server);
  return slot === undefined || pool.servers.has(slot);
}

/** Frontends by name, then each backend with its servers behind it. */
function keyOf({ scope, name, backend }: StatDto): string {
  const proxy = poolKey(backend ?? name);
  if (scope !== 'server') return `${ORDER[scope]} ${proxy}`;
  const slot = slotOf(backend ?? '', name);
  return `${ORDER[scope]} ${proxy} ${slot === undefined ? name : String(slot).padStart(6, '0')}`;
}

function noteOf({ scope, domain, include_unused }: StatsQueryDto, inUse: number): string {
  const what = domain ?? (include_unused ? 'all pools' : `the ${inUse} pool(s) in use`);
  const narrow = [
    ...(scope === undefined ? ['scope (frontend, backend, server)'] : []),
    ...(domain === undefined ? ['domain'] : []),
  ];
  const words = narrow.length === 0 ? '' : ` Narrow with ${narrow.join(' or ')}.`;
  const widen = include_unused ? '' : ' include_unused=true shows free pools and slots too.';
  return `Shown: ${scope === undefined ? 'everything' : `each ${scope}`} of ${what}.${words}${widen}`;
}
