import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { messageOf } from '../../errors/app-error.js';
import { Settings } from '../../settings/settings.js';
import { HaproxyRuntimeService, statCommands } from '../haproxy-runtime.service.js';
import { parseStat, STAT, type StatTypes } from '../parsers/stat.parser.js';
import type { HaproxyInfo } from '../parsers/info.parser.js';
import { FormerMasters } from '../process/former-masters.js';
import { MasterCli } from '../process/master-cli.js';
import { parentOf, processExists } from '../process/os-process.js';
import { type Command, runtimeCommand } from '../runtime/command.js';
import type { ProcessIdentity } from '../runtime/process-identity.js';
import { type ServerStatus, type ServerStatusRow, statusRows } from '../runtime/server-status.js';
import { formatAddress } from '../runtime/transport.js';
import type { KnownServers, OldWorker, OldWorkers, OldWorkerState } from './old-worker.js';
import { clientsOf, knownServersOf, sumOldSessions } from './worker-rows.js';

/** A master that does not list its workers within this time is not waited for. It normally takes a millisecond. */
const LIST_LIMIT_MS = 1_000;
/** After a failure, reads that are not strict do not ask the master again for this time. */
const FAILURE_PAUSE_MS = 5_000;
/** Old workers that are asked at the same time. The master CLI allows ten connections, and others need some of them. */
const PARALLEL = 3;
/** During a reload, the worker that answers and the list of the master may not match for a moment. */
const SURVEY_ATTEMPTS = 4;
/** The servers of an old worker change only if HAProxy resolves their host names again. */
const SERVERS_AGE_MS = 5_000;
/** A worker that gave no complete answer may be ending. If it still exists after this time, it hangs. */
const ENDING_MS = 50;

/** All workers at one moment. */
export interface WorkerSurvey {
  current: HaproxyInfo;
  list: OldWorkers;
  old: OldWorkerState[];
}

/**
 * All workers of HAProxy. After a reload, the old worker finishes its connections: it routes further requests of its
 * clients to the servers that it knew then. The Runtime API reaches only the current worker; old workers are reached
 * through the master CLI. Nothing here changes an old worker.
 */
@Injectable()
export class HaproxyWorkers {
  readonly #master: MasterCli;
  readonly #formerMasters: FormerMasters;
  /** The current worker that had no old worker beside it. An old worker appears only when this worker is replaced. */
  #alone: ProcessIdentity | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;
  readonly #servers = new Map<number, { at: number; servers: KnownServers }>();

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
  ) {
    this.#master = new MasterCli(settings.master);
    this.#formerMasters = new FormerMasters(settings.folders.run);
  }

  /** Whether this process is known to have no old worker beside it, without asking anybody. */
  isAlone(current: ProcessIdentity): boolean {
    // Not `isSameProcess`: `current` can have been read before. A restart, which that also detects, leaves no old worker.
    return this.#alone?.pid === current.pid && this.#alone.startedSec === current.startedSec;
  }

  /** Asks the master for the old workers. `current` has just answered on the Runtime API. Never throws. */
  async list(current: ProcessIdentity): Promise<OldWorkers> {
    const result = await this.#list(current);
    this.#alone = result.known && result.workers.length === 0 ? current : undefined;
    if (!result.known) this.#failedAt = performance.now();
    for (const pid of this.#servers.keys())
      if (result.known && !result.workers.some((worker) => worker.pid === pid)) this.#servers.delete(pid);
    return result;
  }

  /**
   * What each old worker has: its clients, the servers that it knows, and the rows of `show stat` of these backends. A
   * worker that ends meanwhile is left out. Never throws.
   */
  async inspect(
    workers: readonly OldWorker[],
    backends: readonly string[] | undefined = [],
    types: StatTypes = STAT.servers,
  ): Promise<OldWorkerState[]> {
    const found: OldWorkerState[] = [];
    for (let start = 0; start < workers.length; start += PARALLEL) {
      const states = await Promise.all(
        workers.slice(start, start + PARALLEL).map((worker) => this.#inspect(worker, backends, types)),
      );
      found.push(...states.filter((state) => state !== undefined));
    }
    return found;
  }

  /**
   * The rows of `show stat` of the old workers beside `current`. If it is known that there are none, this costs nothing.
   * `known` is false if a worker is missing in the answer.
   */
  async oldRows(
    current: ProcessIdentity,
    backends: readonly string[] | undefined,
    types: StatTypes,
  ): Promise<{ known: boolean; states: OldWorkerState[] }> {
    if (this.isAlone(current)) return { known: true, states: [] };
    const unknown = { known: false, states: [] };
    if (performance.now() - this.#failedAt < FAILURE_PAUSE_MS) return unknown;
    const list = await this.list(current);
    if (!list.known) return unknown;
    const states = await this.inspect(list.workers, backends, types);
    const known = states.every(({ problem }) => problem === undefined);
    if (!known) this.#failedAt = performance.now();
    return { known, states };
  }

  /**
   * The current worker and what each old worker has, without rows.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async survey(): Promise<WorkerSurvey> {
    for (let attempt = 1; ; attempt += 1) {
      const current = await this.runtime.info();
      const list = await this.list(current);
      if (list.known) return { current, list, old: await this.inspect(list.workers) };
      const mayPass = list.cause === 'reload' || list.cause === 'other_haproxy';
      if (!mayPass || attempt === SURVEY_ATTEMPTS) return { current, list, old: [] };
      await delay(ENDING_MS);
    }
  }

  /** As `HaproxyRuntimeService.serverStatuses`; the connections are those of all workers. */
  async serverStatuses(pools?: readonly string[], status?: ServerStatus): Promise<ServerStatusRow[]> {
    const { info, rows } = await this.runtime.statsOfProcess(pools, STAT.servers);
    const statuses = statusRows(rows, status, await this.runtime.trackedRows(rows));
    const { states } = await this.oldRows(info, pools, STAT.servers);
    if (states.length === 0) return statuses;
    const sum = sumOldSessions(rows, states);
    for (const row of statuses) row.connections += sum.ofServer(row.pool, row.slot);
    return statuses;
  }

  async #list(current: ProcessIdentity): Promise<OldWorkers> {
    const address = formatAddress(this.settings.master);
    try {
      const processes = await this.#master.processes(LIST_LIMIT_MS);
      if (!processes)
        return { known: false, cause: 'no_master', reason: noMaster(address, this.settings.control) };
      const [former] = this.#formerMasters.alive();
      if (former) return { known: false, cause: 'former_master', reason: formerMaster(former.pid) };
      const { master, workers, oldWorkers, failedReloads } = processes;
      if (!workers.includes(current.pid))
        return {
          known: false,
          cause: oldWorkers.some(({ pid }) => pid === current.pid) ? 'reload' : 'other_haproxy',
          reason:
            `The master process on ${address} does not have the worker with pid ${current.pid}, which answers on the Runtime API. ` +
            'Either HAProxy is being reloaded, or HAPROXY_MASTER_SOCKET is the socket of another HAProxy.',
        };
      const starting = workers.filter((pid) => pid !== current.pid);
      return {
        known: true,
        failedReloads,
        workers: [
          ...withoutEnded(oldWorkers, { master, worker: current.pid }),
          ...starting.map((pid) => ({ pid, replacedSeconds: 0 })),
        ],
      };
    } catch (error) {
      return { known: false, cause: 'no_answer', reason: messageOf(error) };
    }
  }

  async #inspect(
    worker: OldWorker,
    backends: readonly string[] | undefined,
    types: StatTypes,
  ): Promise<OldWorkerState | undefined> {
    try {
      return await this.#ask(worker, backends, types);
    } catch {
      // Most likely it ends just now.
      await delay(ENDING_MS);
    }
    try {
      return await this.#ask(worker, backends, types);
    } catch (error) {
      return { ...worker, clients: 0, rows: [], servers: new Map(), problem: messageOf(error) };
    }
  }

  async #ask(
    worker: OldWorker,
    backends: readonly string[] | undefined,
    types: StatTypes,
  ): Promise<OldWorkerState | undefined> {
    const { pid } = worker;
    const cached = this.#servers.get(pid);
    const servers = cached && performance.now() - cached.at < SERVERS_AGE_MS ? cached.servers : undefined;
    const commands: Command[] = [
      runtimeCommand`show stat -1 ${STAT.frontends} -1`,
      ...(servers ? [] : [runtimeCommand`show servers state`]),
      ...statCommands(backends, types).map(({ command }) => command),
    ];
    const answers = await this.#master.ask(pid, commands);
    if (!answers) return undefined;
    const clients = clientsOf(parseStat(answers.shift() ?? ''));
    const known = servers ?? knownServersOf(answers.shift() ?? '');
    if (!servers) this.#servers.set(pid, { at: performance.now(), servers: known });
    // A backend that the worker does not have gives a message instead of rows.
    const rows = answers.flatMap((text) => (text.startsWith('# pxname') ? parseStat(text) : []));
    return { ...worker, clients, servers: known, rows };
  }
}

/**
 * Leaves out the workers that have ended. HAProxy 3.0 goes on listing a worker that ends while the master restarts itself
 * after a failed reload. If HAProxy has a PID namespace of its own (a container), the suite does not see its processes, and
 * leaves out none.
 */
function withoutEnded<T extends OldWorker>(
  old: readonly T[],
  { master, worker }: { master: number; worker: number },
): T[] {
  if (old.length === 0 || parentOf(worker) !== master) return [...old];
  // A process that /proc does not show may run. One with another parent has the pid of a worker that has ended.
  return old.filter(({ pid }) => processExists(pid) && [master, undefined].includes(parentOf(pid)));
}

function noMaster(address: string, control: Settings['control']): string {
  const what = `Nothing listens on the master socket ${address}, so the suite cannot ask the workers of the time before the last reload.`;
  return control === 'managed'
    ? `${what} The socket file was probably deleted. Use {haproxy_reload}: a new master replaces the running one, and no request is lost.`
    : `${what} Start HAProxy with -W and -S, and set HAPROXY_MASTER_SOCKET to that socket.`;
}

function formerMaster(pid: number): string {
  return (
    `A new master has replaced the HAProxy with pid ${pid}, which still finishes its connections and cannot be asked about them. ` +
    `It ends with its last client, or at hard-stop-after; "kill -TERM ${pid}" ends it at once and closes them.`
  );
}
