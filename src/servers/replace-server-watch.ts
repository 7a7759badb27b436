import { messageOf } from '../errors/app-error.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { STAT, type StatRow } from '../haproxy/parsers/stat.parser.js';
import { isUsed, serverFinder, statusOf } from '../haproxy/runtime/server-status.js';
import { DrainWatch } from '../haproxy/workers/drain-watch.js';
import type { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import type { JobContext } from '../jobs/running-job.js';
import { poll } from '../lib/poll.js';
import { serverAddress } from '../model/server.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import { isPoolName, serverName, slotOf } from '../model/names/pool-name.js';
import { drainStatus, drainTargets, removedTarget } from './drain-rules.js';
import {
  type GivenAddress,
  helpedPools,
  helperNames,
  isGone,
  matches,
  type Move,
  parseGivenAddress,
} from './replace-server-rules.js';
import { healthText, listed, type OldServerView } from './replace-server-texts.js';

/** The pause between two reads doubles from the first value to the second. A first check takes up to 2 s. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;

/** What HAProxy shows at one moment. `waitsFor` is undefined when there is nothing left to wait for. */
interface Look {
  waitsFor: string | undefined;
  /** Sent to the caller when it changes. */
  progress?: string;
  /** Waiting longer does not help. */
  final?: boolean;
}

/** The new server in its helper slots. */
interface Health {
  /** The number of slots in which its last check has not passed. */
  missing: number;
  /** Names these slots. */
  text: string | undefined;
  /** Names the slots in which HAProxy sends it no requests. */
  failing: string | undefined;
  /** HAProxy does not check it in one of the slots, so waiting does not help. */
  uncheckable: boolean;
}

/** What HAProxy shows of the servers of a replacement: whether the new one is healthy, and the old one idle. */
export class ReplaceServerWatch {
  readonly #drains: DrainWatch;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly workers: HaproxyWorkers,
    private readonly runtime: HaproxyRuntimeService,
  ) {
    this.#drains = new DrainWatch(runtime, workers);
  }

  /**
   * The pools that the new server was to take over and in which HAProxy sends requests to no server, or only to a new
   * server with a failed check.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async unserved(given: readonly Move[]): Promise<Set<string>> {
    const moves = this.#present(given);
    const unserved = new Set(helpedPools(moves));
    if (unserved.size === 0) return unserved;
    const helpers = new Set(helperNames(moves));
    for (const { pool, slot, status, weight } of await this.workers.serverStatuses([...unserved]))
      if (isUsed(status, weight) && !(status === 'checking' && helpers.has(serverName(pool, slot))))
        unserved.delete(pool);
    return unserved;
  }

  /**
   * What HAProxy has of the old server now. Asks for all backends, because another call can have added it to a pool
   * meanwhile, and backends of the operator can have it too.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async oldServer(from: GivenAddress, moves: readonly Move[]): Promise<OldServerView> {
    const rows = await this.runtime.stats(STAT.servers);
    const find = serverFinder(rows);
    const places = rows
      .filter((row) => isAt(row, from) && !this.#isBeingDeleted(row))
      .map((row) => ({
        name: isPoolName(row.proxy) ? row.service : `${row.proxy}/${row.service}`,
        status: statusOf(row, find),
        weight: row.number('weight'),
        connections: row.number('scur'),
      }));
    const addresses = [...new Set(moves.map((move) => serverAddress(move.from)))];
    const views = moves.map(({ pool }) => this.#drains.load(pool, addresses));
    const [view] = await Promise.all(views);
    if (!view) return { places, oldWorkers: undefined };
    // The current worker is in `places`.
    const targets = addresses.map((address) => removedTarget(0, address, false));
    return { places, oldWorkers: drainStatus(targets, '', view).reason };
  }

  /** Whether this is a removed server without connections: HAProxy deletes it in a moment, and sends it nothing. */
  #isBeingDeleted(row: StatRow): boolean {
    const slot = isPoolName(row.proxy) ? slotOf(row.proxy, row.service) : undefined;
    if (slot === undefined || row.number('scur') > 0 || !row.text('status').startsWith('MAINT')) return false;
    return this.persistence.state.pool(row.proxy)?.servers.has(slot) !== true;
  }

  /** Without the pools that were freed meanwhile: their domains expired or were removed. */
  #present(moves: readonly Move[]): readonly Move[] {
    return moves.filter((move) => !isGone(this.persistence.state, move));
  }

  /** Waits until the new server has passed its checks in each helper slot. Returns what is wrong if it has not. */
  async untilHealthy(moves: readonly Move[], timeout: number, job: JobContext): Promise<string | undefined> {
    const all = helperNames(moves).length;
    const { waitsFor } = await this.#poll(timeout, job, async () => {
      const { missing, text, uncheckable } = await this.health(moves);
      return {
        waitsFor: text,
        final: uncheckable,
        progress: `The new server is healthy in ${all - missing} of ${all} pool(s)`,
      };
    });
    return waitsFor;
  }

  /**
   * What HAProxy has of the new server in its helper slots.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async health(given: readonly Move[]): Promise<Health> {
    const moves = this.#present(given);
    const wanted = helperNames(moves);
    if (wanted.length === 0) return { missing: 0, text: undefined, failing: undefined, uncheckable: false };
    const rows = await this.workers.serverStatuses(helpedPools(moves));
    const found = new Map(rows.map((row) => [serverName(row.pool, row.slot), row]));
    const missing = wanted.filter((name) => found.get(name)?.status !== 'UP');
    const failing = missing.filter((name) => {
      const row = found.get(name);
      return !row || !isUsed(row.status, row.weight);
    });
    const textOf = (names: readonly string[]) =>
      names.length === 0 ? undefined : `${listed(names.map((name) => healthText(name, found.get(name))))}.`;
    return {
      missing: missing.length,
      text: textOf(missing),
      failing: textOf(failing),
      uncheckable: missing.some((name) => found.get(name)?.status === 'no check'),
    };
  }

  /**
   * Waits until no worker has a connection to the old server. `busy`: the current worker has one, or may get one because
   * another call has set the server to ready.
   */
  async untilIdle(
    moves: readonly Move[],
    timeout: number,
    job: JobContext,
  ): Promise<{ waitsFor: string | undefined; busy: boolean }> {
    let busy = true;
    const { waitsFor } = await this.#poll(timeout, job, async () => {
      busy = true;
      const found = await Promise.all(
        moves.map(async ({ pool, slot, from }) => {
          const old = serverAddress(from);
          const view = await this.#drains.load(pool, [old]);
          const present = this.persistence.state.pool(pool);
          // Another call can have given the slot to another server meanwhile.
          const targets = (present ? drainTargets(pool, present, slot, view) : []).filter(
            ({ address = old }) => address === old,
          );
          return { name: serverName(pool, slot), ...drainStatus(targets, pool, view) };
        }),
      );
      const open = found.reduce((sum, { current, old_workers }) => sum + current + old_workers, 0);
      busy = found.some(({ current, drained, final }) => current > 0 || (final === true && !drained));
      const reasons = found.flatMap(({ name, reason }) => (reason === undefined ? [] : `${name}: ${reason}`));
      return {
        waitsFor: reasons.length === 0 ? undefined : listed(reasons, ' '),
        final: found.every(({ final, drained }) => drained || final !== false),
        progress: `The old server drains: ${open} connection(s) left`,
      };
    });
    return { waitsFor, busy };
  }

  /** Looks until there is nothing to wait for, the time is over, or the job is cancelled. */
  #poll(timeout: number, { signal, progress }: JobContext, look: () => Promise<Look>): Promise<Look> {
    let reported = '';
    const report = (text: string): void => {
      if (text !== reported) progress(text);
      reported = text;
    };
    // HAProxy may be restarting.
    const safeLook = () => look().catch((error: unknown): Look => ({ waitsFor: messageOf(error) }));
    return poll(
      async () => {
        const found = await safeLook();
        if (found.progress !== undefined) report(found.progress);
        return found;
      },
      ({ waitsFor, final }) => waitsFor === undefined || final === true,
      {
        firstPauseMs: FIRST_PAUSE_MS,
        longestPauseMs: LONGEST_PAUSE_MS,
        limitMs: timeout * 1000,
        signal,
      },
    );
  }
}

/** Whether the server of a row of `show stat` has this address. */
function isAt(row: StatRow, address: GivenAddress): boolean {
  const found = row.kind === 'server' ? parseGivenAddress(row.text('addr')) : undefined;
  return found?.http_port !== undefined && matches({ ip: found.ip, http_port: found.http_port }, address);
}
