import { AppError } from '../errors/app-error.js';
import { canonicalIp, formatHostPort } from '../model/ip-address.js';
import { MAX_PORT, serverAddress, type ServerSpec } from '../model/server.js';
import { comparePoolNames } from '../model/pool-name.js';
import type { Draft, Pool, StateReader } from '../model/state.js';
import { lowestFreeSlot } from './server-rules.js';

/** The address of a server; without a port, of the servers on all ports of this address. */
export interface GivenAddress {
  ip: string;
  http_port: number | undefined;
}

type Address = Pick<ServerSpec, 'ip' | 'http_port'>;

/** A slot that changes from one server to another. */
export interface Move {
  pool: string;
  slot: number;
  from: ServerSpec;
  to: Address;
  /**
   * The slot in which the new server serves until it can have the slot of the old one; undefined if the old server gets
   * no requests, so that nobody needs the new one earlier.
   */
  helper: number | undefined;
  /** Whether this operation has added the server in `helper`. */
  added: boolean;
}

/** `10.0.0.1`, `10.0.0.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; undefined for any other text. */
export function parseGivenAddress(text: string): GivenAddress | undefined {
  const whole = canonicalIp(text);
  if (whole !== undefined) return { ip: whole, http_port: undefined };
  const groups = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:[\]]+))(?::(?<port>[1-9]\d{0,4}))?$/.exec(text)?.groups;
  const ip = canonicalIp(groups?.['v6'] ?? groups?.['v4'] ?? '');
  const port = groups?.['port'] === undefined ? undefined : Number(groups['port']);
  return ip === undefined || (port ?? 1) > MAX_PORT ? undefined : { ip, http_port: port };
}

export function formatGivenAddress({ ip, http_port: port }: GivenAddress): string {
  return port === undefined ? ip : formatHostPort(ip, port);
}

/**
 * The slots with a server of the address `from`, in the pools of the suite. Pure.
 *
 * @throws AppError server_not_found if there is none; validation_failed if `to` is the same address, or has a port and
 * the servers have several
 */
export function findMoves(state: StateReader, from: GivenAddress, to: GivenAddress): Move[] {
  const pools = [...state.poolNames()].toSorted(comparePoolNames);
  const moves = pools.flatMap((pool) => {
    const { servers, external } = poolOf(state, pool);
    if (external) return [];
    return [...servers]
      .filter(([, server]) => matches(server, from))
      .toSorted(([a], [b]) => a - b)
      .map(([slot, server]) => ({ pool, slot, from: server, ...target(server, to) }));
  });
  const [first] = moves;
  if (!first)
    throw new AppError(
      'server_not_found',
      `No pool of the suite has a server with the address ${formatGivenAddress(from)}. Call haproxy_get_server_health ` +
        'to see the servers.',
    );
  if (to.http_port !== undefined && moves.some((move) => move.from.http_port !== first.from.http_port))
    throw invalid('to', 'must have no port, because the servers of from have several; give from with a port');
  if (moves.some((move) => serverAddress(move.from) === serverAddress(move.to)))
    throw invalid('to', 'must be another address than from');
  return moves;
}

/**
 * Adds the new server to each pool whose old server is in service, in the lowest free slot. A pool that has the new
 * server already keeps it. Returns the moves with the slots that were found.
 *
 * @throws AppError pool_full
 */
export function addHelpers(draft: Draft, moves: readonly Move[], maxSlots: number): Move[] {
  const added = new Set<string>();
  return moves.map((move) => {
    const pool = poolOf(draft, move.pool);
    const present = slotOfAddress(pool, move.to);
    if (present !== undefined)
      return { ...move, helper: present, added: added.has(`${move.pool} ${present}`) };
    if (!isInService(move.from)) return move;
    const helper = lowestFreeSlot(pool, move.pool, pool.domains[0] ?? '', maxSlots);
    draft.putServer(move.pool, helper, { ...move.to, weight: move.from.weight, state: 'ready' });
    added.add(`${move.pool} ${helper}`);
    return { ...move, helper, added: true };
  });
}

/** Removes the servers that `addHelpers` has added, unless somebody has changed them since. */
export function removeAdded(draft: Draft, moves: readonly Move[]): void {
  for (const move of moves) if (move.added) removeHelper(draft, move);
}

/** Sets the old servers to drain, where the new one serves. */
export function drainOld(draft: Draft, moves: readonly Move[]): void {
  for (const { pool, slot, from, helper } of moves) {
    const server = poolOf(draft, pool).servers.get(slot);
    if (helper !== undefined && server && hasAddress(server, from) && server.state === 'ready')
      draft.putServer(pool, slot, { ...server, state: 'drain' });
  }
}

/**
 * Gives the slots of the old servers to the new one, with the weight of the old server, and removes the new one from its
 * helper slots. A slot that somebody has changed since stays as it is, and so does its helper.
 */
export function takeSlots(draft: Draft, moves: readonly Move[]): void {
  const taken = moves.filter(({ pool: name, slot, from, to, helper }) => {
    const { servers } = poolOf(draft, name);
    const server = servers.get(slot);
    if (!server || !hasAddress(server, from)) return false;
    const state = (helper === undefined ? server : (servers.get(helper) ?? server)).state;
    draft.putServer(name, slot, { ...server, ...to, state });
    return true;
  });
  for (const move of taken) removeHelper(draft, move);
}

function removeHelper(draft: Draft, { pool, helper, to }: Move): void {
  const server = helper === undefined ? undefined : poolOf(draft, pool).servers.get(helper);
  if (helper !== undefined && server && hasAddress(server, to)) draft.removeServer(pool, helper);
}

/** A server that nobody has set to drain or maintenance, and that has a share of the requests. */
function isInService({ state, weight }: ServerSpec): boolean {
  return state === 'ready' && weight > 0;
}

function target({ http_port }: ServerSpec, to: GivenAddress): Pick<Move, 'to' | 'helper' | 'added'> {
  return { to: { ip: to.ip, http_port: to.http_port ?? http_port }, helper: undefined, added: false };
}

function matches({ ip, http_port }: Address, given: GivenAddress): boolean {
  return ip === given.ip && (given.http_port === undefined || given.http_port === http_port);
}

function hasAddress(one: Address, other: Address): boolean {
  return one.ip === other.ip && one.http_port === other.http_port;
}

function slotOfAddress({ servers }: Pool, address: Address): number | undefined {
  for (const [slot, server] of servers) if (hasAddress(server, address)) return slot;
  return undefined;
}

/** Without servers if the pool was freed meanwhile. */
function poolOf(state: StateReader, name: string): Pool {
  return state.pool(name) ?? { domains: [], servers: new Map() };
}

function invalid(field: string, message: string): AppError {
  return new AppError('validation_failed', `${field} ${message}.`, { errors: [{ field, message }] });
}
