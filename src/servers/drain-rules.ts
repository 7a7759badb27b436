import { isUsed } from '../haproxy/runtime/server-status.js';
import type { DrainView } from '../haproxy/workers/drain-watch.js';
import type { OldWorkerState } from '../haproxy/workers/old-worker.js';
import { sessionsAt } from '../haproxy/workers/worker-rows.js';
import { slotOf } from '../model/names/pool-name.js';
import { serverAddress } from '../model/server.js';
import type { Pool } from '../model/state.js';
import type { DrainingServerDto, OpenConnectionsDto, WaitDrainResultDto } from './servers.dto.js';

/** A server to wait for. */
export interface DrainTarget {
  slot: number;
  /** `10.0.0.1:80`; undefined for a removed server that only the current worker has. */
  address: string | undefined;
  /** Whether the slot is of this server in the current worker too. It can have been given to another server. */
  inCurrent: boolean;
  state: DrainingServerDto['state'];
  weight: number;
  /** No longer in the saved state, but a worker has it. */
  removed: boolean;
}

export interface DrainStatus extends Omit<WaitDrainResultDto, 'waited_ms'> {
  /** Waiting longer does not help. `no_master` may pass if HAProxy is just being restarted. */
  final: boolean | 'no_master';
}

/** The servers of the slot, or of all slots for 0, with removed servers that a worker still has. By slot. */
export function drainTargets(poolName: string, pool: Pool, slot: number, view: DrainView): DrainTarget[] {
  const wanted = (candidate: number) => slot === 0 || candidate === slot;
  const targets: DrainTarget[] = [...pool.servers]
    .filter(([candidate]) => wanted(candidate))
    .map(([candidate, server]) => ({
      slot: candidate,
      address: serverAddress(server),
      inCurrent: true,
      state: server.state,
      weight: server.weight,
      removed: false,
    }));
  return [
    ...targets,
    ...removedTargets(poolName, pool, view).filter((target) => wanted(target.slot)),
  ].toSorted((a, b) => a.slot - b.slot);
}

function removedTargets(poolName: string, pool: Pool, { rows, old }: DrainView): DrainTarget[] {
  const parked = rows.filter(
    (row) => row.pool === poolName && row.connections > 0 && !pool.servers.has(row.slot),
  );
  const found = new Map<string, DrainTarget>();
  for (const { clients, servers } of old) {
    if (clients === 0) continue;
    for (const [address, names] of servers)
      for (const { backend, server, usable } of names) {
        const slot = backend === poolName ? slotOf(poolName, server) : undefined;
        if (slot === undefined || !usable) continue;
        const present = pool.servers.get(slot);
        if (present && serverAddress(present) === address) continue;
        found.set(`${slot} ${address}`, removedTarget(slot, address, !present));
      }
  }
  const known = new Set([...found.values()].map(({ slot }) => slot));
  const onlyCurrent = parked.filter(({ slot }) => !known.has(slot));
  return [...found.values(), ...onlyCurrent.map(({ slot }) => removedTarget(slot, undefined, true))];
}

export function removedTarget(slot: number, address: string | undefined, inCurrent: boolean): DrainTarget {
  return { slot, address, inCurrent, state: 'maint', weight: 0, removed: true };
}

/** Whether no worker has, or can get, a connection to one of the servers. */
export function drainStatus(targets: readonly DrainTarget[], poolName: string, view: DrainView): DrainStatus {
  const servers = targets.map((target) => ({
    slot: target.slot,
    state: target.state,
    ...(target.removed && { removed: true }),
    connections: currentConnections(target, poolName, view) + oldConnections(target, view.old),
  }));
  const counts = countConnections(targets, poolName, view);
  const { reason, final } = whyNotDrained(targets, poolName, view, counts);
  return {
    drained: reason === undefined,
    ...(reason !== undefined && { reason }),
    ...counts,
    servers,
    final,
  };
}

/** The connections to the servers, by the worker that has them. */
export function countConnections(
  targets: readonly DrainTarget[],
  poolName: string,
  view: DrainView,
): OpenConnectionsDto {
  return {
    current: sum(targets.map((target) => currentConnections(target, poolName, view))),
    old_workers: sum(targets.map((target) => oldConnections(target, view.old))),
    idle_clients: sum(
      view.old.map((worker) => {
        const known = targets.filter((target) => knows(worker, target));
        if (known.length === 0) return 0;
        return Math.max(0, worker.clients - sum(known.map((target) => oldConnections(target, [worker]))));
      }),
    ),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function currentConnections({ slot, inCurrent }: DrainTarget, pool: string, { rows }: DrainView): number {
  if (!inCurrent) return 0;
  return rows.find((row) => row.pool === pool && row.slot === slot)?.connections ?? 0;
}

function oldConnections({ address }: DrainTarget, old: readonly OldWorkerState[]): number {
  if (address === undefined) return 0;
  return sum(old.map((worker) => sessionsAt(worker, address)));
}

/** Whether the worker can send a request of one of its clients to the server. */
function knows({ servers }: OldWorkerState, { address }: DrainTarget): boolean {
  return address !== undefined && servers.get(address)?.some(({ usable }) => usable) === true;
}

function whyNotDrained(
  targets: readonly DrainTarget[],
  poolName: string,
  { list, old, rows }: DrainView,
  counts: OpenConnectionsDto,
): { reason?: string; final: DrainStatus['final'] } {
  const slots = (found: readonly DrainTarget[]) =>
    `slot${found.length === 1 ? '' : 's'} ${found.map(({ slot }) => slot).join(', ')}`;
  const ready = targets.filter(({ state, weight }) => state === 'ready' && weight > 0);
  if (ready.length > 0)
    return {
      reason:
        `Not draining: ${slots(ready)} ${ready.length === 1 ? 'is' : 'are'} ready and can get requests at any time. ` +
        'Set the state to drain with {haproxy_set_server_state}, then wait again.',
      final: true,
    };
  const used = targets.filter(({ slot, removed }) =>
    rows.some(
      (row) => !removed && row.pool === poolName && row.slot === slot && isUsed(row.status, row.weight),
    ),
  );
  if (used.length > 0)
    return {
      reason: `Not draining: HAProxy still sends requests to ${slots(used)}, although the saved state says otherwise. See drift in {haproxy_health}.`,
      final: false,
    };
  const parts: string[] = [];
  if (counts.current > 0) parts.push(`The current worker has ${counts.current} connection(s) to it.`);
  if (!list.known) {
    parts.push(`Old workers are not known. ${list.reason}`);
    return {
      reason: parts.join(' '),
      final: counts.current === 0 && list.cause === 'no_master' ? 'no_master' : false,
    };
  }
  if (counts.old_workers > 0) parts.push(`Old workers have ${counts.old_workers} connection(s) to it.`);
  for (const worker of old) {
    if (worker.problem !== undefined)
      parts.push(`Old worker ${worker.pid} does not answer: ${worker.problem}`);
    else if (worker.clients > 0 && targets.some((target) => knows(worker, target)))
      parts.push(
        `Old worker ${worker.pid} (replaced ${worker.replacedSeconds} s ago) knows it and has ${worker.clients} client connection(s), ` +
          'whose next requests can go to it. It ends with its last client, or at hard-stop-after.',
      );
  }
  return parts.length === 0 ? { final: true } : { reason: parts.join(' '), final: false };
}
