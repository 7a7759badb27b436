import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { paginate } from '../contract/pages/page.js';
import { PageQueryDto } from '../contract/pages/page.dto.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { type OldSessions, sumOldSessions } from '../haproxy/workers/worker-rows.js';
import { isPoolName, poolSortKey, slotOf, sortPoolNames } from '../model/names/pool-name.js';
import { STAT, type StatRow } from '../haproxy/parsers/stat.parser.js';
import { requirePool, type State } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import {
  type BackendDto,
  BackendListDto,
  ConnectionsDto,
  ConnectionsQueryDto,
  FrontendListDto,
  ListBackendsDto,
  type PoolConnectionsDto,
  type ServerConnectionsDto,
} from './monitoring.dto.js';
import { statusReader } from './row-status.js';
import { NO_SESSIONS, processConnections, queuedOf, sessionsOf, sortByKey } from './stat-view.js';

/** How many domains of a pool an answer names. */
const DOMAINS_SHOWN = 10;

/** The pools, frontends and connections of HAProxy. */
@Injectable()
export class MonitoringService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly workers: HaproxyWorkers,
    private readonly settings: Settings,
  ) {}

  @Operation({
    name: 'haproxy_backends',
    scope: 'view',
    title: 'List pools',
    description:
      'Lists the pools (HAProxy backends) with their domains, servers and sessions, and how many are in use. ' +
      'in_use=true lists only pools with a domain, in_use=false only free pools. ' +
      'For the traffic of a pool use {haproxy_stats} with scope=backend.',
    output: BackendListDto,
    readOnly: true,
    idempotent: true,
  })
  async backends(input: ListBackendsDto): Promise<BackendListDto> {
    const state = this.persistence.visible;
    // Which pools are free tells which others use.
    const all = isLimited() ? [] : [...(await this.runtime.poolNames())];
    const free = all.filter((name) => state.pool(name) === undefined);
    const names =
      free.length === 0
        ? state.sortedPools()
        : [...sortPoolNames([...state.pools.keys(), ...free]), ...operatorPools(state)];
    const matching =
      input.in_use === undefined
        ? names
        : names.filter((name) => input.in_use === (state.pool(name) !== undefined));
    const page = paginate(matching, poolSortKey, input);
    const { info, rows } = await this.runtime.statsOfProcess(page.items, STAT.backends | STAT.servers);
    const { states } = await this.workers.oldRows(info, page.items, STAT.backends);
    const old = sumOldSessions(rows, states);
    const rowOf = new Map(rows.filter(({ kind }) => kind === 'backend').map((row) => [row.proxy, row]));
    const statusOfRow = statusReader(rows, await this.runtime.trackedRows(rows));
    return {
      ...page,
      items: page.items.map((name) => this.#describeBackend(name, rowOf.get(name), statusOfRow, old)),
      pools_in_use: state.ownPoolCount,
      pools_total: Math.max(this.settings.poolCount, state.ownPoolCount),
    };
  }

  @Operation({
    name: 'haproxy_list_frontends',
    scope: 'all',
    command: 'frontends',
    title: 'List frontends',
    description:
      'Lists the frontends of HAProxy, where clients connect, with their status, sessions and rates. ' +
      'For errors and responses use {haproxy_stats} with scope=frontend.',
    output: FrontendListDto,
    readOnly: true,
    idempotent: true,
  })
  async frontends(input: PageQueryDto): Promise<FrontendListDto> {
    const { info, rows } = await this.runtime.statsOfProcess(undefined, STAT.frontends);
    const { states } = await this.workers.oldRows(info, undefined, STAT.frontends);
    const old = sumOldSessions(rows, states);
    const page = paginate(
      sortByKey(rows, (row) => row.proxy),
      (row) => row.proxy,
      input,
    );
    const items = page.items.map((row) => ({
      name: row.proxy,
      mode: row.text('mode'),
      status: row.text('status'),
      sessions: sessionsOf(row, old),
      request_rate: row.number('req_rate'),
      requests_total: row.number('req_tot'),
      bytes_in: row.number('bin'),
      bytes_out: row.number('bout'),
    }));
    return { ...page, items };
  }

  @Operation({
    name: 'haproxy_get_connections',
    scope: 'view',
    command: 'connections',
    title: 'Current connections',
    description:
      'Counts connections and queued requests of HAProxy, and of each pool in use with its servers: current (of all ' +
      'workers, old ones from before a reload too), maximum, limit. Does not list single sessions. ' +
      'Use domain for one pool; to let a server drain use {haproxy_wait_drain}.',
    output: ConnectionsDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  async connections(input: ConnectionsQueryDto): Promise<ConnectionsDto> {
    const state = this.persistence.visible;
    const only = input.domain === undefined ? undefined : requirePool(state, input.domain).name;
    const page = paginate(only === undefined ? state.sortedPools() : [only], poolSortKey, input);
    const types = STAT.backends | STAT.servers;
    const { info, rows } = await this.runtime.statsOfProcess(page.items, types);
    const old = await this.workers.oldRows(info, page.items, types);
    const sums = sumOldSessions(rows, old.states);
    const rowsOf = new Map<string, StatRow[]>(page.items.map((name) => [name, []]));
    for (const row of rows) rowsOf.get(row.proxy)?.push(row);
    const oldRows = old.states.flatMap((state) => state.rows);
    const items = [...rowsOf].map(([name, poolRows]) =>
      this.#describeConnections(name, poolRows, sums, removedRows(name, poolRows, oldRows)),
    );
    return { ...(!isLimited() && { process: processConnections(info, old) }), ...page, items };
  }

  #describeBackend(
    name: string,
    row: StatRow | undefined,
    statusOfRow: (row: StatRow) => string,
    old: OldSessions,
  ): BackendDto {
    const pool = this.persistence.visible.pool(name);
    return {
      name,
      in_use: pool !== undefined,
      external: pool?.external ?? false,
      in_haproxy: row !== undefined,
      domains: pool?.domains.slice(0, DOMAINS_SHOWN) ?? [],
      domain_count: pool?.domains.length ?? 0,
      server_count: pool?.servers.size ?? 0,
      active_servers: row?.number('act') ?? 0,
      status: row ? statusOfRow(row) : 'missing',
      sessions: row ? sessionsOf(row, old) : { ...NO_SESSIONS },
    };
  }

  /** `removed` are rows of servers that only old workers have. */
  #describeConnections(
    name: string,
    rows: readonly StatRow[],
    old: OldSessions,
    removed: readonly StatRow[],
  ): PoolConnectionsDto {
    const pool = this.persistence.visible.pool(name);
    const backend = rows.find((row) => row.kind === 'backend');
    const servers: ServerConnectionsDto[] = [];
    for (const row of rows) {
      const slot = row.kind === 'server' ? slotOf(name, row.service) : undefined;
      if (slot === undefined) continue;
      const { current, max, limit } = sessionsOf(row, old);
      const isRemoved = pool?.servers.has(slot) !== true;
      if (isRemoved && current === 0) continue;
      servers.push({
        name: row.service,
        slot,
        ...(isRemoved && { removed: true }),
        current,
        max,
        ...(limit !== undefined && { limit }),
        idle: row.number('srv_icur'),
        queued: queuedOf(row, old),
      });
    }
    for (const row of removed) {
      const slot = slotOf(name, row.service);
      if (slot === undefined) continue;
      const values = {
        current: row.number('scur'),
        max: 0,
        idle: row.number('srv_icur'),
        queued: row.number('qcur'),
      };
      servers.push({ name: row.service, slot, removed: true, ...values });
    }
    return {
      pool: name,
      domains: pool?.domains.slice(0, DOMAINS_SHOWN) ?? [],
      sessions: backend ? sessionsOf(backend, old) : { ...NO_SESSIONS },
      queued: backend ? queuedOf(backend, old) : 0,
      servers: servers.toSorted((a, b) => a.slot - b.slot),
    };
  }
}

/** Whether the caller may see only some domains. */
function isLimited(): boolean {
  return callContext().scope?.limitsDomains === true;
}

/** Rows of old workers with sessions of a server that the current worker does not have, or has at another address. */
function removedRows(pool: string, current: readonly StatRow[], old: readonly StatRow[]): StatRow[] {
  const present = new Set(current.map((row) => `${row.service} ${row.text('addr')}`));
  return old.filter(
    (row) =>
      row.proxy === pool &&
      row.kind === 'server' &&
      row.number('scur') > 0 &&
      !present.has(`${row.service} ${row.text('addr')}`),
  );
}

/** The external pools whose name is no pool name, in the order of `sortedPools`. */
function operatorPools(state: State): string[] {
  return [...state.externalPools].filter((name) => !isPoolName(name)).toSorted();
}
