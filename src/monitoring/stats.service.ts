import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { cursorAfter, firstAfter, keyOfCursor, type Page, paginate } from '../contract/pages/page.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { sumOldSessions } from '../haproxy/workers/worker-rows.js';
import { isPoolName, poolSortKey, slotOf } from '../model/names/pool-name.js';
import { STAT, type StatRow } from '../haproxy/parsers/stat.parser.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { type Pool, type State, requirePool } from '../model/state.js';
import { statusReader } from './row-status.js';
import { processOf, scopeOf, sortByKey, statOf } from './stat-view.js';
import { StatsDto, StatsQueryDto, type StatScope } from './stats.dto.js';

const ORDER = { frontend: 'a', backend: 'b', server: 'b' } as const;

/** The counters of HAProxy as typed numbers. */
@Injectable()
export class StatsService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly workers: HaproxyWorkers,
  ) {}

  @Operation({
    name: 'haproxy_stats',
    scope: 'view',
    title: 'Traffic statistics',
    description:
      'Sessions, requests, responses by class, errors, bytes, rates and times of the whole process, of frontends, ' +
      'backends and servers. Current sessions, connections and queues are of all workers, old ones from before a reload ' +
      'too; totals, rates and times are of the current worker. Free pools and slots only with include_unused. ' +
      'Filter with scope and domain: the answer of a large installation is long.',
    output: StatsDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  async stats(input: StatsQueryDto): Promise<StatsDto> {
    const state = this.persistence.visible;
    const pool = input.domain === undefined ? undefined : requirePool(state, input.domain).name;
    const [info, page] = await Promise.all([
      this.runtime.info(),
      pool === undefined && !input.include_unused ? this.#pageOfUsed(input) : this.#pageOfRows(input, pool),
    ]);
    const rows = page.items.map(({ row }) => row);
    const old = await this.workers.oldRows(info, [...new Set(rows.map(({ proxy }) => proxy))], STAT.all);
    const oldValues = sumOldSessions(rows, old.states);
    const items = page.items.map(({ row, scope, status }) => statOf(row, scope, status(), oldValues));
    return {
      ...(!isLimited() && { process: processOf(info, old) }),
      ...page,
      items,
      note: noteOf(input, state.ownPoolCount),
    };
  }

  /** One page of the rows of one pool, or of all rows of HAProxy. */
  async #pageOfRows({ include_unused, ...input }: StatsQueryDto, pool?: string): Promise<Page<ScopedRow>> {
    const state = this.persistence.visible;
    const rows = pool === undefined ? await this.runtime.stats() : await this.runtime.statsOf([pool]);
    const scoped = scopedRows(rows, input.scope, await this.runtime.trackedRows(rows)).filter(
      ({ row, scope }) =>
        (include_unused && !isLimited()) ||
        isInUse(state, row.proxy, scope === 'server' ? row.service : undefined),
    );
    return paginate(sorted(scoped), keyOf, input);
  }

  /**
   * One page of the rows in use. Asks HAProxy only for the pools of this page, because the rows of 10,000 pools are
   * megabytes. The total comes from the state.
   */
  async #pageOfUsed(input: StatsQueryDto): Promise<Page<ScopedRow>> {
    const state = this.persistence.visible;
    const { scope, limit } = input;
    // A copy, because the state can change while HAProxy answers.
    const pools = state.sortedPools().filter(isPoolName);
    const count = (name: string): number => rowCount(state.pool(name), scope);
    let total = 0;
    for (const name of pools) total += count(name);

    const ofPools: ScopedRow[] = [];
    let next = firstPoolAfter(pools, keyOfCursor(input));
    const notOfPools = this.#rowsOutsidePools(scope);
    for (;;) {
      const names: string[] = [];
      for (let missing = limit + 1; missing > 0 && next < pools.length; next += 1) {
        const name = pools[next];
        if (name === undefined || count(name) === 0) continue;
        names.push(name);
        // The first pool does not count, because the previous page can contain its rows.
        if (names.length > 1) missing -= count(name);
      }
      const [rows, others] = await Promise.all([this.runtime.statsOf(names), notOfPools]);
      ofPools.push(
        ...scopedRows(rows, scope, await this.runtime.trackedRows(rows)).filter(({ row, scope: kind }) =>
          isInUse(state, row.proxy, kind === 'server' ? row.service : undefined),
        ),
      );
      const page = paginate(sorted([...others, ...ofPools]), keyOf, input);
      // If HAProxy lacks a pool, it returns fewer rows than the state has, so the next pools are read too.
      if (page.items.length === limit || next >= pools.length) {
        const more = page.next_cursor !== null || next < pools.length;
        return {
          ...page,
          next_cursor: more ? (page.next_cursor ?? cursorAfter(page.items, keyOf)) : null,
          total: total + others.length,
        };
      }
    }
  }

  /** The rows of frontends, and of backends that the operator declares. */
  async #rowsOutsidePools(scope: StatScope | undefined): Promise<ScopedRow[]> {
    if (isLimited()) return [];
    const [frontends, rest] = await Promise.all([
      this.runtime.stats(STAT.frontends),
      this.runtime
        .backendNames()
        .then((names) => this.runtime.statsOf(names.filter((name) => !isPoolName(name)))),
    ]);
    return scopedRows([...frontends, ...rest], scope, await this.runtime.trackedRows(rest)).filter(
      ({ row }) => !isPoolName(row.proxy),
    );
  }
}

/** Whether the caller may see only some domains. */
function isLimited(): boolean {
  return callContext().scope?.limitsDomains === true;
}

/** How many rows of an answer belong to a pool in use. */
function rowCount(pool: Pool | undefined, scope: StatScope | undefined): number {
  return (
    (scope === undefined || scope === 'backend' ? 1 : 0) +
    (scope === undefined || scope === 'server' ? (pool?.servers.size ?? 0) : 0)
  );
}

/** A row of `show stat` that an answer can show. */
interface ScopedRow {
  row: StatRow;
  scope: StatScope;
  /** Computed when it is read, because a page shows few of the rows. */
  status: () => string;
}

function scopedRows(
  rows: readonly StatRow[],
  only: StatScope | undefined,
  tracked: readonly StatRow[],
): ScopedRow[] {
  const statusOfRow = statusReader(rows, tracked);
  return rows.flatMap((row) => {
    const scope = scopeOf(row);
    return scope === undefined || (only !== undefined && scope !== only)
      ? []
      : [{ row, scope, status: () => statusOfRow(row) }];
  });
}

function sorted(rows: readonly ScopedRow[]): ScopedRow[] {
  return sortByKey(rows, keyOf);
}

/** The index of the first pool that can have rows after this key. */
function firstPoolAfter(pools: readonly string[], key: string | undefined): number {
  const pool = key?.startsWith(`${ORDER.backend} `) === true ? key.slice(2).split(' ', 1)[0] : undefined;
  if (pool === undefined) return 0;
  const after = firstAfter(pools, poolSortKey, pool);
  return after > 0 && poolSortKey(pools[after - 1] ?? '') === pool ? after - 1 : after;
}

/** Whether a row belongs to a pool and slot in use. True for a backend that the operator declares. */
function isInUse(state: State, proxy: string, server: string | undefined): boolean {
  if (isLimited() && !state.pool(proxy)) return false;
  if (!isPoolName(proxy)) return true;
  const pool = state.pool(proxy);
  if (!pool || server === undefined || pool.external) return pool !== undefined;
  const slot = slotOf(proxy, server);
  return slot === undefined || pool.servers.has(slot);
}

/** The sort key: frontends by name, then each backend followed by its servers. */
function keyOf({ row, scope }: ScopedRow): string {
  const proxy = poolSortKey(row.proxy);
  if (scope !== 'server') return `${ORDER[scope]} ${proxy}`;
  const slot = slotOf(row.proxy, row.service);
  return `${ORDER[scope]} ${proxy} ${slot === undefined ? row.service : String(slot).padStart(6, '0')}`;
}

function noteOf({ scope, domain, include_unused }: StatsQueryDto, inUse: number): string {
  const pools = domain ?? (include_unused ? 'all pools' : `the ${inUse} pool(s) in use`);
  const filters = [
    ...(scope === undefined ? ['scope (frontend, backend, server)'] : []),
    ...(domain === undefined ? ['domain'] : []),
  ];
  const filter = filters.length === 0 ? '' : ` Filter with ${filters.join(' or ')}.`;
  const unused = include_unused ? '' : ' Free pools and slots are left out unless include_unused is set.';
  return `Shown: ${scope === undefined ? 'everything' : `each ${scope}`} of ${pools}.${filter}${unused}`;
}
