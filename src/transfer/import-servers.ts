import { AppError } from '../errors/app-error.js';
import { DEFAULT_WEIGHT, type PoolServers, serverAddress, type ServerSpec } from '../model/server.js';
import type { DomainRecord, RecordServer } from './import-record.js';

/**
 * The servers of a pool with those of a line, which may change weight and state of one that is there. Those that name
 * a slot come first, as in a bulk add. A new map, so that a line that fails half-way has changed nothing.
 *
 * @throws AppError slot_taken, pool_full, validation_failed
 */
export function putServers(
  { servers }: DomainRecord,
  before: PoolServers,
  pool: string,
  maxSlots: number,
): PoolServers {
  if (servers.length === 0) return before;
  const after = new Map(before);
  for (const server of servers) if (server.slot > 0) put(after, server.slot, server, pool, maxSlots);
  for (const server of servers)
    if (server.slot === 0) put(after, slotFor(after, server, pool, maxSlots), server, pool, maxSlots);
  return after;
}

function put(
  servers: Map<number, ServerSpec>,
  slot: number,
  given: RecordServer,
  pool: string,
  maxSlots: number,
): void {
  const present = servers.get(slot);
  if (present && !hasAddress(present, given))
    throw new AppError(
      'slot_taken',
      `slot ${slot} of ${pool} holds ${serverAddress(present)}; leave slot out for the lowest free one`,
    );
  // A slot that is in use stays usable when HAPROXY_MAX_SLOTS is lowered.
  if (!present && slot > maxSlots)
    throw new AppError('validation_failed', `slot must be 1 to ${maxSlots} (HAPROXY_MAX_SLOTS), not ${slot}`);
  servers.set(slot, {
    ip: given.ip,
    http_port: given.http_port,
    weight: given.weight ?? present?.weight ?? DEFAULT_WEIGHT,
    state: given.state ?? present?.state ?? 'ready',
  });
}

/** The slot that has the address, so that the same line twice is one server; else the lowest free one. */
function slotFor(
  servers: ReadonlyMap<number, ServerSpec>,
  given: RecordServer,
  pool: string,
  maxSlots: number,
): number {
  for (const [slot, server] of servers) if (hasAddress(server, given)) return slot;
  for (let slot = 1; slot <= maxSlots; slot += 1) if (!servers.has(slot)) return slot;
  throw new AppError('pool_full', `${pool} has all its ${maxSlots} slots in use`);
}

function hasAddress(server: ServerSpec, { ip, http_port }: RecordServer): boolean {
  return server.ip === ip && server.http_port === http_port;
}
