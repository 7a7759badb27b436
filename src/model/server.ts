import { canonicalIp, formatHostPort, IP_RULE } from './addresses/ip-address.js';

/** A server of a pool: the allowed values of its fields, and the format of its address. */

export const SERVER_STATES = ['ready', 'drain', 'maint'] as const;
export type ServerState = (typeof SERVER_STATES)[number];

/** The upper bound of HAPROXY_MAX_SLOTS. A saved pool may have servers in slots above HAPROXY_MAX_SLOTS. */
export const MAX_SLOT = 1000;
export const MAX_PORT = 65_535;
/** HAProxy configuration manual, section 5.2, "weight". */
export const MAX_WEIGHT = 256;

export const DEFAULT_WEIGHT = 1;
export const DEFAULT_HTTP_PORT = 80;

export interface ServerSpec {
  /** Canonical IPv4 or IPv6 address. */
  ip: string;
  /** 1 to MAX_PORT. */
  http_port: number;
  /** 0 to MAX_WEIGHT. */
  weight: number;
  state: ServerState;
}

/** Slot number (1 to MAX_SLOT) → server. */
export type PoolServers = ReadonlyMap<number, ServerSpec>;

/** The fields of a server before they are checked. */
export type UncheckedServer = { readonly [Field in 'slot' | keyof ServerSpec]?: unknown };

/** The first invalid field. */
interface ServerProblem {
  field: keyof UncheckedServer;
  value: unknown;
  /** The allowed values, as text after "must be" or "is not". */
  allowed: string;
}

/**
 * Finds the first invalid field of a server; undefined if the server is valid. `ip` must be a canonical address; the
 * other fields may be undefined. `minSlot` is 0 where slot 0 means "the lowest free slot".
 */
export function findServerProblem(server: UncheckedServer, minSlot: 0 | 1 = 1): ServerProblem | undefined {
  const { ip, state, slot, http_port: port, weight } = server;
  if (typeof ip !== 'string' || canonicalIp(ip) !== ip) return { field: 'ip', value: ip, allowed: IP_RULE };
  if (state !== undefined && !SERVER_STATES.includes(state as ServerState))
    return { field: 'state', value: state, allowed: `one of ${SERVER_STATES.join(', ')}` };
  if (!isAbsentOrWithin(slot, minSlot, MAX_SLOT)) return outOfRange('slot', slot, minSlot, MAX_SLOT);
  if (!isAbsentOrWithin(port, 1, MAX_PORT)) return outOfRange('http_port', port, 1, MAX_PORT);
  if (!isAbsentOrWithin(weight, 0, MAX_WEIGHT)) return outOfRange('weight', weight, 0, MAX_WEIGHT);
  return undefined;
}

/** `10.0.0.1:80`, `[2001:db8::1]:80`. */
export function serverAddress({ ip, http_port: port }: Pick<ServerSpec, 'ip' | 'http_port'>): string {
  return formatHostPort(ip, port);
}

function isAbsentOrWithin(value: unknown, min: number, max: number): boolean {
  return value === undefined || (Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max);
}

function outOfRange(field: keyof UncheckedServer, value: unknown, min: number, max: number): ServerProblem {
  return { field, value, allowed: `a whole number from ${min} to ${max}` };
}

/** Whether a server gets new requests: it is not in drain or maintenance, and its weight is above 0. */
export function isInService({ state, weight }: Pick<ServerSpec, 'state' | 'weight'>): boolean {
  return state === 'ready' && weight > 0;
}

/** Whether two servers have the same IP address and port. */
export function isSameAddress(
  one: Pick<ServerSpec, 'ip' | 'http_port'>,
  other: Pick<ServerSpec, 'ip' | 'http_port'>,
): boolean {
  return one.ip === other.ip && one.http_port === other.http_port;
}

/** Whether two servers have the same values. */
export function isSameServer(one: ServerSpec, other: ServerSpec | undefined): boolean {
  return (
    one === other ||
    (one.ip === other?.ip &&
      one.http_port === other.http_port &&
      one.weight === other.weight &&
      one.state === other.state)
  );
}
