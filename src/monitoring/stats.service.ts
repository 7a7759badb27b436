import { Injectable } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { cursorAfter, firstAfter, keyOfCursor, type Page, paginate } from '../contract/pages/page.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { isPoolName, poolSortKey, slotOf } from '../model/pool-name.js';
import { STAT, type StatRow } from '../haproxy/parsers/stat.parser.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { type Pool, type State, requirePool } from '../model/state.js';
import { processOf, scopeOf, sortByKey, statOf } from './stat-view.js';
import { StatsDto, StatsQueryDto, type StatScope } from './stats.dto.js';

const ORDER = { frontend: 'a', backend: 'b', server: 'b' } as const;

/** HAProxy's counters as typed numbers. */
@Injectable()
export class StatsService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
  ) {}

  @Operation({
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
    const [info, page] = await Promise.all([
      this.runtime.info(),
      pool === undefined && !input.include_unused ? this.#used(input) : this.#all(input, pool),
    ]);
    const items = page.items.map(({ row, scope }) => statOf(row, scope));
    return { process: processOf(info), ...page, items, note: noteOf(input, state.pools.size) };
  }

  /** From all lines of one pool, or of HAProxy. */
  async #all({ include_unused, ...input }: StatsQueryDto, pool?: string): Promise<Page<Line>> {
    const { state } = this.persistence;
    const rows = pool === undefined ? await this.runtime.stats() : await this.runtime.statsOf([pool]);
    const lines = linesOf(rows, input.scope).filter(
      ({ row, scope }) =>
        include_unused || isWanted(state, row.proxy, scope === 'server' ? row.service : undefined),
    );
    return paginate(sorted(lines), keyOf, input);
  }

  /**
   * One page of what is in use. HAProxy is asked for the pools of this page only: all lines of 10,000 pools are
   * megabytes. How many lines there are is known from the state.
   */
  async #used(input: StatsQueryDto): Promise<Page<Line>> {
    const { state } = this.persistence;
    const { scope, limit } = input;
    // A copy: the state may change while HAProxy is asked.
    const pools = [...state.sortedPools()];
    const count = (name: string): number => linesIn(state.pool(name), scope);
    let total = 0;
    for (const pool of state.pools.values()) total += linesIn(pool, scope);

    const lines: Line[] = [];
    let next = firstWith(pools, keyOfCursor(input));
    const around = this.#around(scope);
    for (;;) {
      const asked: string[] = [];
      for (let room = limit + 1; room > 0 && next < pools.length; next += 1) {
        const name = pools[next];
        if (name === undefined || count(name) === 0) continue;
        asked.push(name);
        // Of the first pool, lines may have been shown before.
        if (asked.length > 1) room -= count(name);
      }
      const [rows, others] = await Promise.all([this.runtime.statsOf(asked), around]);
      lines.push(
        ...linesOf(rows, scope).filter(({ row, scope: kind }) =>
          isWanted(state, row.proxy, kind === 'server' ? row.service : undefined),
        ),
      );
      const page = paginate(sorted([...others, ...lines]), keyOf, input);
      // A HAProxy that does not have all pools yet shows fewer lines than there should be.
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

  /** The lines of what is no pool: frontends, and backends of the operator's own. */
  async #around(scope: StatScope | undefined): Promise<Line[]> {
    const [frontends, rest] = await Promise.all([
      this.runtime.stats(STAT.frontends),
      this.runtime
        .backendNames()
        .then((names) => this.runtime.statsOf(names.filter((name) => !isPoolName(name)))),
    ]);
    return linesOf([...frontends, ...rest], scope).filter(({ row }) => !isPoolName(row.proxy));
  }
}

/** How many lines a pool has in an answer about what is in use. */
function linesIn(pool: Pool | undefined, scope: StatScope | undefined): number {
  return (
    (scope === undefined || scope === 'backend' ? 1 : 0) +
    (scope === undefined || scope === 'server' ? (pool?.servers.size ?? 0) : 0)
  );
}

/** A line of `show stat` that an answer may show. */
interface Line {
  row: StatRow;
  scope: StatScope;
}

function linesOf(rows: readonly StatRow[], only: StatScope | undefined): Line[] {
  return rows.flatMap((row) => {
    const scope = scopeOf(row);
    return scope === undefined || (only !== undefined && scope !== only) ? [] : [{ row, scope }];
  });
}

function sorted(lines: readonly Line[]): Line[] {
  return sortByKey(lines, keyOf);
}

/** The first pool that may have lines after this key. */
function firstWith(pools: readonly string[], key: string | undefined): number {
  const pool = key?.startsWith(`${ORDER.backend} `) === true ? key.slice(2).split(' ', 1)[0] : undefined;
  if (pool === undefined) return 0;
  const after = firstAfter(pools, poolSortKey, pool);
  return after > 0 && poolSortKey(pools[after - 1] ?? '') === pool ? after - 1 : after;
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
function keyOf({ row, scope }: Line): string {
  const proxy = poolSortKey(row.proxy);
  if (scope !== 'server') return `${ORDER[scope]} ${proxy}`;
  const slot = slotOf(row.proxy, row.service);
  return `${ORDER[scope]} ${proxy} ${slot === undefined ? row.service : String(slot).padStart(6, '0')}`;
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
