import { AppError } from '../errors/app-error.js';
import { invalidField } from '../errors/invalid-fields.js';
import { canonicalIp, formatHostPort } from '../model/addresses/ip-address.js';
import { comparePoolNames, serverName } from '../model/names/pool-name.js';
import {
  isInService,
  isSameAddress,
  isSameServer,
  MAX_PORT,
  type PoolServers,
  serverAddress,
  type ServerSpec,
} from '../model/server.js';
import { expiryOf } from '../model/options/expiry.js';
import type { Draft } from '../model/draft.js';
import type { Pool, StateReader } from '../model/state.js';
import { lowestFreeSlot, type PlacedServer } from './server-rules.js';

/** The address of a server; without a port, of the servers on all ports of this address. */
export interface GivenAddress {
  ip: string;
  http_port: number | undefined;
}

const NO_POOL: Pool = { domains: [], servers: new Map() };
/** A pool of more domains is not looked through for their expiry. */
const MAX_EXPIRING = 100;

type Address = Pick<ServerSpec, 'ip' | 'http_port'>;

/** A slot that changes from one server to another. */
export interface Move {
  pool: string;
  slot: number;
  /** Of the pool, before the replacement. */
  domains: readonly string[];
  /** When the last of them expires, if each of them expires. */
  expires: number | undefined;
  from: ServerSpec;
  to: Address;
  /**
   * The slot in which the new server serves until it can have the slot of the old one; undefined if the old server gets
   * no requests, so the new one is not needed earlier.
   */
  helper: number | undefined;
  /** Whether this operation has added the server in `helper`. */
  added: boolean;
  /** Whether this operation has set the old server to drain. */
  drained: boolean;
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
  const moves = serversAt(state, from).map(({ pool, slot, server }) => ({
    pool,
    slot,
    ...domainsOf(state, pool),
    from: server,
    ...target(server, to),
  }));
  const [first] = moves;
  if (!first)
    throw new AppError(
      'server_not_found',
      `No pool of the suite has a server with the address ${formatGivenAddress(from)}. Call {haproxy_get_server_health} ` +
        'to see the servers.',
    );
  if (to.http_port !== undefined && moves.some((move) => move.from.http_port !== first.from.http_port))
    throw invalidField(
      'to',
      'must have no port, because the servers of from have several; give from with a port',
    );
  if (moves.some((move) => serverAddress(move.from) === serverAddress(move.to)))
    throw invalidField('to', 'must be another address than from');
  return moves;
}

/** The servers of this address in the pools of the suite, by pool and slot. Pure. */
export function serversAt(state: StateReader, address: GivenAddress): PlacedServer[] {
  const pools = [...state.poolNames()].toSorted(comparePoolNames);
  return pools.flatMap((pool) => {
    const { servers, external } = poolOf(state, pool);
    if (external) return [];
    return [...servers]
      .filter(([, server]) => matches(server, address))
      .toSorted(([a], [b]) => a - b)
      .map(([slot, server]) => ({ pool, slot, server }));
  });
}

/**
 * Adds the new server to each pool whose old server is in service, in the lowest free slot. A pool that has the new
 * server already keeps it. Returns the moves with the slots that were found.
 *
 * @throws AppError pool_full; server_not_healthy if a pool has the new server, but not in service
 */
export function addHelpers(draft: Draft, moves: readonly Move[], maxSlots: number): Move[] {
  const added = new Set<string>();
  return moves.map((move) => {
    const pool = poolOf(draft, move.pool);
    const present = slotOfAddress(pool, move.to);
    if (present !== undefined) {
      requireInService(pool, move, present);
      return { ...move, helper: present, added: added.has(serverName(move.pool, present)) };
    }
    if (!isInService(move.from)) return move;
    const helper = lowestFreeSlot(pool, move.pool, pool.domains[0] ?? '', maxSlots);
    draft.putServer(move.pool, helper, helperOf(move));
    added.add(serverName(move.pool, helper));
    return { ...move, helper, added: true };
  });
}

/** The new server as this operation adds it. */
function helperOf({ from, to }: Move): ServerSpec {
  return { ...to, weight: from.weight, state: 'ready' };
}

/** HAProxy sends no requests to a server that is not in service, so that it could never take over. */
function requireInService({ domains, servers }: Pool, { pool, to }: Move, slot: number): void {
  const server = servers.get(slot);
  if (!server || isInService(server)) return;
  throw new AppError(
    'server_not_healthy',
    `The new server ${serverAddress(to)} is ${serverName(pool, slot)}, in slot ${slot} of ${domains[0] ?? pool}, and gets ` +
      `no requests there: its state is ${server.state} and its weight ${server.weight}. This call changed nothing. Set ` +
      'its state to ready with {haproxy_set_server_state} and its weight above 0 with {haproxy_set_server_weight}, or ' +
      'remove it with {haproxy_remove_server}. Then call again.',
  );
}

/**
 * Sets the old servers to drain, where the new one is in service. Returns the moves; `drained` is true for a server that
 * was set to drain.
 */
export function drainOld(draft: Draft, moves: readonly Move[]): Move[] {
  return moves.map((move) => {
    const { pool, slot, from } = move;
    const { servers } = poolOfMove(draft, move);
    const server = servers.get(slot);
    if (!server || !isSameAddress(server, from) || server.state !== 'ready') return move;
    if (!helperInService(servers, move)) return move;
    draft.putServer(pool, slot, { ...server, state: 'drain' });
    return { ...move, drained: true };
  });
}

/** What `undo` did. */
export interface Undone {
  /** Moves whose helper was removed again. */
  removed: Move[];
  /** Moves whose helper was added and stays, because the old server is not in service. */
  kept: Move[];
  /** Moves whose old server is ready again. */
  restored: Move[];
}

/**
 * Sets the old servers that this call has drained to ready again, and those that an earlier call has drained in the pools
 * `unserved`. Then removes the new servers that this call has added, where the old one is in service. In the pools `declared`,
 * another call has declared all servers meanwhile, so what is there is wanted.
 */
export function undo(
  draft: Draft,
  moves: readonly Move[],
  unserved: ReadonlySet<string>,
  declared: ReadonlySet<string>,
): Undone {
  const undone: Undone = { removed: [], kept: [], restored: [] };
  for (const move of moves) {
    const { pool, slot, from, helper, drained } = move;
    const server = poolOfMove(draft, move).servers.get(slot);
    if (helper === undefined || !server || !isSameAddress(server, from) || server.state !== 'drain') continue;
    if (!drained && !(from.state === 'drain' && unserved.has(pool))) continue;
    draft.putServer(pool, slot, { ...server, state: 'ready' });
    undone.restored.push(move);
  }
  const oldServes = (move: Move) => {
    const server = poolOfMove(draft, move).servers.get(move.slot);
    return server !== undefined && isSameAddress(server, move.from) && isInService(server);
  };
  const needed = new Set<string>();
  for (const move of moves)
    if (move.helper !== undefined && !oldServes(move)) needed.add(serverName(move.pool, move.helper));
  for (const move of moves) {
    if (!move.added || move.helper === undefined || declared.has(move.pool)) continue;
    const present = poolOfMove(draft, move).servers.get(move.helper);
    // Another call has declared a server with another weight or state meanwhile.
    if (!isSameServer(helperOf(move), present)) continue;
    if (needed.has(serverName(move.pool, move.helper))) undone.kept.push(move);
    else {
      draft.removeServer(move.pool, move.helper);
      undone.removed.push(move);
    }
  }
  return undone;
}

/**
 * Gives the slots of the old servers to the new one, with the weight of the old server, and removes the new one from its
 * helper slots. A slot that another call has changed since stays as it is, and so does its helper. Returns why, for each such
 * slot.
 */
export function takeSlots(draft: Draft, moves: readonly Move[]): string[] {
  const left: string[] = [];
  const taken = moves.filter((move) => {
    const { pool, slot, from, to } = move;
    const { servers } = poolOfMove(draft, move);
    const reason = isGone(draft, move) ? goneText(move) : whyNotTaken(servers, move);
    if (reason !== undefined) {
      left.push(reason);
      return false;
    }
    const server = servers.get(slot) ?? from;
    const helper = helperInService(servers, move);
    draft.putServer(
      pool,
      slot,
      helper
        ? { ...to, state: helper.state, weight: server.weight > 0 ? server.weight : helper.weight }
        : { ...server, ...to },
    );
    return true;
  });
  for (const { pool, helper, to } of taken) {
    const server = helper === undefined ? undefined : poolOf(draft, pool).servers.get(helper);
    if (helper !== undefined && server && isSameAddress(server, to)) draft.removeServer(pool, helper);
  }
  return left;
}

/** A sentence about a slot that `takeSlots` must not change. */
function whyNotTaken(servers: PoolServers, move: Move): string | undefined {
  const { pool, slot, from, to, helper } = move;
  const name = serverName(pool, slot);
  const server = servers.get(slot);
  if (!server || !isSameAddress(server, from)) {
    const what = server ? `has ${serverAddress(server)} now` : 'was removed meanwhile';
    const added = helper === undefined ? undefined : servers.get(helper);
    const stays =
      added && helper !== undefined && isSameAddress(added, to)
        ? `, and the new server stays in ${serverName(pool, helper)}`
        : '';
    return `${name} ${what}${stays}.`;
  }
  if (isInService(server)) return `${name} is ready again and keeps the old server.`;
  if (helper !== undefined && !helperInService(servers, move))
    return `${name} keeps the old server (state ${server.state}), because ${serverName(pool, helper)} is no longer the new server in service.`;
  return undefined;
}

/** The new server in its helper slot, if it is still there and gets requests. */
function helperInService(servers: PoolServers, { helper, to }: Move): ServerSpec | undefined {
  const server = helper === undefined ? undefined : servers.get(helper);
  return server && isSameAddress(server, to) && isInService(server) ? server : undefined;
}

/** The names of the servers in the helper slots. */
export function helperNames(moves: readonly Move[]): string[] {
  return [
    ...new Set(moves.flatMap(({ pool, helper }) => (helper === undefined ? [] : serverName(pool, helper)))),
  ];
}

/** The pools in which the new server has a helper slot. */
export function helpedPools(moves: readonly Move[]): string[] {
  return [...new Set(moves.flatMap(({ pool, helper }) => (helper === undefined ? [] : pool)))];
}

/** Whether a server can have both addresses. */
export function overlaps(one: GivenAddress, other: GivenAddress): boolean {
  return (
    one.ip === other.ip &&
    (one.http_port === undefined || other.http_port === undefined || one.http_port === other.http_port)
  );
}

function target(
  { http_port }: ServerSpec,
  to: GivenAddress,
): Pick<Move, 'to' | 'helper' | 'added' | 'drained'> {
  return {
    to: { ip: to.ip, http_port: to.http_port ?? http_port },
    helper: undefined,
    added: false,
    drained: false,
  };
}

export function matches({ ip, http_port }: Address, given: GivenAddress): boolean {
  return ip === given.ip && (given.http_port === undefined || given.http_port === http_port);
}

/** The slot with this address; if there are several, one in service. */
function slotOfAddress({ servers }: Pool, address: Address): number | undefined {
  const found = [...servers].filter(([, server]) => isSameAddress(server, address));
  return (found.find(([, server]) => isInService(server)) ?? found[0])?.[0];
}

function domainsOf(state: StateReader, name: string): Pick<Move, 'domains' | 'expires'> {
  const { domains } = poolOf(state, name);
  const times = domains.length > MAX_EXPIRING ? [] : domains.map((domain) => expiryOf(state.site(domain)));
  const known = times.filter((time) => time !== undefined);
  return {
    domains,
    expires: known.length > 0 && known.length === times.length ? Math.max(...known) : undefined,
  };
}

/** Whether the pool was freed meanwhile. Other domains can have its number by now; a renamed domain keeps its servers. */
export function isGone(state: StateReader, { pool, domains, from, to }: Move): boolean {
  if (domains.some((domain) => state.poolOf(domain) === pool)) return false;
  const { servers } = poolOf(state, pool);
  return ![...servers.values()].some((server) => isSameAddress(server, from) || isSameAddress(server, to));
}

/** A sentence about a pool that was freed meanwhile. */
function goneText({ pool, domains, expires }: Move, now = Date.now()): string {
  const [first = ''] = domains;
  const names = domains.length > 1 ? `${first} and the other domains of ${pool}` : `${first} (${pool})`;
  return `${names} ${expires !== undefined && expires <= now ? 'expired' : 'left the pool'} meanwhile, so ${pool} has no server to replace.`;
}

function poolOfMove(state: StateReader, move: Move): Pool {
  return isGone(state, move) ? NO_POOL : poolOf(state, move.pool);
}

/** Without servers if the pool was freed meanwhile. */
function poolOf(state: StateReader, name: string): Pool {
  return state.pool(name) ?? NO_POOL;
}
