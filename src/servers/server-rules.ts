import { AppError, type FieldError } from '../errors/app-error.js';
import { invalidFields } from '../errors/invalid-fields.js';
import { serverName } from '../model/names/pool-name.js';
import {
  isSameAddress,
  isSameServer,
  type PoolServers,
  serverAddress,
  type ServerSpec,
  type ServerState,
} from '../model/server.js';
import type { Draft } from '../model/draft.js';
import { type Pool, requireOwnPool, type StateReader } from '../model/state.js';
import type { ServerInputDto } from './servers.dto.js';

/** The most servers of one answer. */
export const SERVERS_SHOWN = 100;

/** A server with its pool and slot. */
export interface PlacedServer {
  pool: string;
  slot: number;
  server: ServerSpec;
}

/** @throws AppError domain_not_found, server_not_found, pool_external */
export function requireServer(state: StateReader, domain: string, slot: number): PlacedServer {
  const { name, pool } = requireOwnPool(state, domain);
  const server = pool.servers.get(slot);
  if (!server) {
    const slotsInUse = [...pool.servers.keys()].toSorted((a, b) => a - b).join(', ') || 'none';
    throw new AppError(
      'server_not_found',
      `${domain} has no server in slot ${slot} (${serverName(name, slot)}); slots in use: ${slotsInUse}. ` +
        'Call {haproxy_list_servers} to see the servers.',
    );
  }
  return { pool: name, slot, server };
}

/** The servers of the domain, by slot. @throws AppError domain_not_found, pool_external */
export function serversOf(state: StateReader, domain: string): PlacedServer[] {
  const { name, pool } = requireOwnPool(state, domain);
  return [...pool.servers]
    .toSorted(([a], [b]) => a - b)
    .map(([slot, server]) => ({ pool: name, slot, server }));
}

/**
 * Adds one server. A slot that already has the same address does not change.
 *
 * @throws AppError domain_not_found, pool_external, slot_taken, pool_full, validation_failed
 */
export function addOneServer(
  draft: Draft,
  domain: string,
  input: ServerInputDto,
  maxSlots: number,
): PlacedServer {
  const { name } = requireOwnPool(draft, domain);
  checkSlots([input], maxSlots, () => 'slot');
  return addServer(draft, domain, name, input, maxSlots);
}

/**
 * Adds all servers or throws. Servers with a slot number are added first; then each server with slot 0 gets the lowest
 * free slot. A slot that already has the same address does not change.
 *
 * @throws AppError domain_not_found, pool_external, slot_taken, pool_full, validation_failed
 */
export function addServers(
  draft: Draft,
  domain: string,
  inputs: readonly ServerInputDto[],
  maxSlots: number,
): PlacedServer[] {
  const { name } = requireOwnPool(draft, domain);
  checkSlots(inputs, maxSlots, (index) => `servers[${index}].slot`);
  const placed = inputs.map((): PlacedServer | undefined => undefined);
  const numberedFirst = [...inputs.keys()].toSorted(
    (a, b) => Number(inputs[a]?.slot === 0) - Number(inputs[b]?.slot === 0),
  );
  for (const index of numberedFirst) {
    const input = inputs[index];
    if (input) placed[index] = addServer(draft, domain, name, input, maxSlots);
  }
  return placed.filter((server) => server !== undefined);
}

function addServer(
  draft: Draft,
  domain: string,
  poolName: string,
  input: ServerInputDto,
  maxSlots: number,
): PlacedServer {
  const { pool } = requireOwnPool(draft, domain);
  const slot = input.slot === 0 ? lowestFreeSlot(pool, poolName, domain, maxSlots) : input.slot;
  const present = pool.servers.get(slot);
  if (present && isSameAddress(present, input)) return { pool: poolName, slot, server: present };
  if (present)
    throw new AppError(
      'slot_taken',
      `Slot ${slot} of ${domain} holds ${serverAddress(present)}. Use another slot (0 takes the lowest ` +
        'free slot), or remove that server first with {haproxy_remove_server}.',
      { existing: { slot, name: serverName(poolName, slot), ...present } },
    );
  const server: ServerSpec = {
    ip: input.ip,
    http_port: input.http_port,
    weight: input.weight,
    state: 'ready',
  };
  draft.putServer(poolName, slot, server);
  return { pool: poolName, slot, server };
}

/** @throws AppError domain_not_found, server_not_found, pool_external */
export function removeServer(draft: Draft, domain: string, slot: number): PlacedServer {
  const placed = requireServer(draft, domain, slot);
  draft.removeServer(placed.pool, slot);
  return placed;
}

/**
 * Makes the pool of the domain have exactly these servers. A server that the pool has keeps its slot; a new one gets the
 * lowest slot that is free, so that a server that leaves stays until the new one serves. Only if no slot is free, it
 * takes the slot of a server that leaves.
 *
 * @throws AppError domain_not_found, pool_external, pool_full
 */
export function setServers(
  draft: Draft,
  domain: string,
  declared: readonly ServerSpec[],
  maxSlots: number,
): void {
  const { name, pool } = requireOwnPool(draft, domain);
  if (declared.length > maxSlots)
    throw new AppError(
      'pool_full',
      `${declared.length} servers were given, and a pool has ${maxSlots} slots. Give at most ${maxSlots}, or raise ` +
        'HAPROXY_MAX_SLOTS and restart the suite.',
    );
  draft.declared.add(name);
  const present = slotsByAddress(pool);
  const servers = new Map<number, ServerSpec>();
  const joining: ServerSpec[] = [];
  for (const server of declared) {
    const slot = present.get(serverAddress(server));
    if (slot === undefined) joining.push(server);
    else servers.set(slot, server);
  }
  const slots = [...pool.servers.keys()].toSorted((a, b) => a - b);
  const leaving = slots.filter((slot) => !servers.has(slot) && slot <= maxSlots);
  const free = freeSlots(pool, joining.length, maxSlots);
  for (const server of joining) {
    const slot = free.shift() ?? leaving.shift();
    if (slot === undefined) throw poolFull(name, domain, maxSlots);
    servers.set(slot, server);
  }
  if (!isSameServers(pool.servers, servers)) draft.setServers(name, servers);
}

/** The lowest slot of each address. */
function slotsByAddress({ servers }: Pool): Map<string, number> {
  const slots = new Map<string, number>();
  for (const [slot, server] of [...servers].toSorted(([a], [b]) => b - a))
    slots.set(serverAddress(server), slot);
  return slots;
}

function freeSlots({ servers }: Pool, count: number, maxSlots: number): number[] {
  const free: number[] = [];
  for (let slot = 1; slot <= maxSlots && free.length < count; slot += 1)
    if (!servers.has(slot)) free.push(slot);
  return free;
}

function isSameServers(one: PoolServers, other: PoolServers): boolean {
  return one.size === other.size && [...one].every(([slot, server]) => isSameServer(server, other.get(slot)));
}

/** Sets the state or the weight. @throws AppError domain_not_found, server_not_found, pool_external */
export function changeServer(
  draft: Draft,
  domain: string,
  slot: number,
  values: { state: ServerState } | { weight: number },
): PlacedServer {
  const placed = requireServer(draft, domain, slot);
  const server = { ...placed.server, ...values };
  const isSame = server.state === placed.server.state && server.weight === placed.server.weight;
  if (!isSame) draft.putServer(placed.pool, slot, server);
  return { ...placed, server };
}

/** @throws AppError domain_not_found, pool_external */
export function changeDomainState(draft: Draft, domain: string, state: ServerState): PlacedServer[] {
  return serversOf(draft, domain).map(({ slot }) => changeServer(draft, domain, slot, { state }));
}

function checkSlots(
  inputs: readonly ServerInputDto[],
  maxSlots: number,
  fieldOf: (index: number) => string,
): void {
  const used = new Set<number>();
  const errors = inputs.flatMap(({ slot }, index): FieldError[] => {
    const field = fieldOf(index);
    if (slot > maxSlots)
      return [{ field, message: `must be 0 (the lowest free slot) or 1 to ${maxSlots} (HAPROXY_MAX_SLOTS)` }];
    if (slot !== 0 && used.has(slot))
      return [{ field, message: `must not be ${slot}, which is given twice` }];
    used.add(slot);
    return [];
  });
  if (errors.length > 0) throw invalidFields(errors);
}

/** @throws AppError pool_full */
export function lowestFreeSlot(pool: Pool, poolName: string, domain: string, maxSlots: number): number {
  for (let slot = 1; slot <= maxSlots; slot += 1) if (!pool.servers.has(slot)) return slot;
  throw poolFull(poolName, domain, maxSlots);
}

function poolFull(poolName: string, domain: string, maxSlots: number): AppError {
  return new AppError(
    'pool_full',
    `All ${maxSlots} slots of ${poolName}, the pool of ${domain}, are in use. Remove a server with ` +
      '{haproxy_remove_server}, or raise HAPROXY_MAX_SLOTS and restart the suite.',
  );
}
