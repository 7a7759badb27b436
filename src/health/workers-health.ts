import { messageOf } from '../errors/app-error.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { type HaproxyWorkers, type WorkerSurvey } from '../haproxy/workers/haproxy-workers.service.js';
import type { OldWorkers, OldWorkerState } from '../haproxy/workers/old-worker.js';
import { isPoolName } from '../model/names/pool-name.js';
import { serverAddress } from '../model/server.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import type { ReconcilerService } from '../reconciler/reconciler.service.js';
import type { Settings } from '../settings/settings.js';
import { duration } from './health-rules.js';
import type { RemovedServerUseDto, WorkersComponentDto } from './health.dto.js';

/** An old worker is normal for some time. Websockets of a day are rare, and each old worker costs memory. */
const OLD_LIMIT_SECONDS = 24 * 3600;
/** Each old worker has the memory of its configuration and certificates. */
const MAX_OLD_WORKERS = 10;
/** HAProxy ends an old worker with its last client. One that remains hangs (github.com/haproxy/haproxy/issues/1891). */
const WITHOUT_CLIENTS_SECONDS = 300;
/** How many removed servers an answer names. */
const REMOVED_SHOWN = 10;

type UnknownCause = Extract<OldWorkers, { known: false }>['cause'];
type Facts = Omit<WorkersComponentDto, 'status' | 'detail'>;

/** The workers of HAProxy, and the removed servers that they still use. */
export class WorkersHealth {
  constructor(
    private readonly workers: HaproxyWorkers,
    private readonly runtime: HaproxyRuntimeService,
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly control: Settings['control'],
  ) {}

  async check(): Promise<WorkersComponentDto> {
    try {
      const survey = await this.workers.survey();
      const removed = [...(await this.#parked()), ...this.#removed(survey.old)];
      return workersHealth(survey, removed, this.control);
    } catch (error) {
      return {
        status: 'degraded',
        detail: `Not known: ${messageOf(error)}`,
        workers: [],
        removed_servers: [],
      };
    }
  }

  /** Removed servers that the current worker keeps for their last connections. */
  async #parked(): Promise<RemovedServerUseDto[]> {
    const pools = new Set(this.reconciler.pendingServers.map(({ pool }) => pool));
    if (pools.size === 0) return [];
    const rows = await this.runtime.serverStatuses([...pools]);
    return rows
      .filter((row) => row.connections > 0)
      .filter((row) => this.persistence.state.pool(row.pool)?.servers.has(row.slot) !== true)
      .map(({ pool, slot, connections }) => ({ server: `${pool}_${slot}`, pool, connections }));
  }

  /** Servers that an old worker can use, and that no pool of the saved state has. */
  #removed(old: readonly OldWorkerState[]): RemovedServerUseDto[] {
    const withClients = old.filter(({ clients }) => clients > 0);
    if (withClients.length === 0) return [];
    const saved = new Set<string>();
    for (const pool of this.persistence.state.pools.values())
      for (const server of pool.servers.values()) saved.add(serverAddress(server));
    const found = new Map<string, RemovedServerUseDto>();
    for (const { servers, clients, pid } of withClients)
      for (const [address, names] of servers) {
        const name = names.find(({ backend, usable }) => usable && isPoolName(backend));
        if (!name || saved.has(address)) continue;
        const use = found.get(address) ?? {
          server: address,
          pool: name.backend,
          old_workers: [],
          clients: 0,
        };
        use.old_workers = [...(use.old_workers ?? []), pid];
        use.clients = (use.clients ?? 0) + clients;
        found.set(address, use);
      }
    return [...found.values()];
  }
}

/** Pure: the status of the workers, with what an operator has to do. */
export function workersHealth(
  { current, list, old }: WorkerSurvey,
  removed: readonly RemovedServerUseDto[],
  control: Settings['control'],
): WorkersComponentDto {
  const shown = removed.slice(0, REMOVED_SHOWN);
  const facts: Facts = { pid: current.pid, workers: [], removed_servers: shown };
  if (!list.known) {
    const status = isExpected(list.cause, control) ? 'healthy' : 'degraded';
    return { status, detail: `Old workers are not known. ${list.reason}`, ...facts };
  }
  const problems = [
    ...(list.failedReloads > 0
      ? [
          `The last ${list.failedReloads} reload(s) of HAProxy failed, so it serves with its previous configuration: call {haproxy_check_config}, correct the configuration, and call {haproxy_reload}`,
        ]
      : []),
    ...old.flatMap((worker) => problemsOf(worker)),
    ...(old.length > MAX_OLD_WORKERS
      ? [
          `there are ${old.length} old workers, and each needs memory: reload less often, or set hard-stop-after or mworker-max-reloads in haproxy.cfg`,
        ]
      : []),
  ];
  const clients = old.reduce((sum, worker) => sum + worker.clients, 0);
  const holding =
    old.length === 0
      ? 'No old worker.'
      : `${old.length} old worker(s) from before a reload, with ${clients} client connection(s); the oldest was replaced ${duration(Math.max(...old.map(({ replacedSeconds }) => replacedSeconds)))} ago.`;
  const held =
    removed.length === 0
      ? ''
      : ` ${removed.length} removed server(s) can still get requests: do not stop ${removed.length === 1 ? 'it' : 'them'} yet.`;
  return {
    status: problems.length === 0 ? 'healthy' : 'degraded',
    detail: `${problems.map((problem) => `${problem}. `).join('')}${holding}${held}`,
    ...facts,
    old_workers: old.length,
    workers: old.map(({ pid, replacedSeconds, clients: connections, problem }) => ({
      pid,
      replaced_seconds: replacedSeconds,
      connections,
      ...(problem !== undefined && { problem }),
    })),
  };
}

/**
 * Whether nothing is wrong although the old workers are not known: HAProxy is run without a master socket, or a former
 * master finishes its connections. In the modes that reload through the master socket, a reload needs it.
 */
function isExpected(cause: UnknownCause, control: Settings['control']): boolean {
  if (cause === 'no_master') return control === 'systemd' || control === 'podman';
  return cause === 'former_master';
}

function problemsOf({ pid, replacedSeconds, clients, problem }: OldWorkerState): string[] {
  const age = duration(replacedSeconds);
  if (problem !== undefined) return [`Old worker ${pid} does not answer (${problem})`];
  if (clients === 0 && replacedSeconds > WITHOUT_CLIENTS_SECONDS)
    return [
      `Old worker ${pid} was replaced ${age} ago and has no client, but it has not ended: end it with "kill -TERM ${pid}"`,
    ];
  if (replacedSeconds > OLD_LIMIT_SECONDS)
    return [
      `Old worker ${pid} was replaced ${age} ago and still has ${clients} client connection(s): set hard-stop-after in haproxy.cfg, or end it with "kill -TERM ${pid}", which closes them`,
    ];
  return [];
}
