import { booleanRule, integerRule, type JsonProblem, objectRule, oneOfRule, textRule } from './json-rule.js';

/** How HAProxy checks the servers of a pool. Durations are in seconds. */
export interface PoolCheck {
  readonly type: 'tcp' | 'http';
  readonly method?: 'GET' | 'HEAD' | 'OPTIONS' | 'POST';
  readonly path?: string;
  readonly host?: string;
  readonly status?: number;
  readonly interval?: number;
  readonly rise?: number;
  readonly fall?: number;
}

/** In seconds. */
export interface PoolTimeouts {
  readonly connect?: number;
  readonly server?: number;
  readonly queue?: number;
  readonly tunnel?: number;
}

/** What a pool has that differs from the default (SPEC section 9). Immutable; valid by `findPoolOptionsProblem`. */
export interface PoolOptions {
  readonly balance?: string;
  readonly check?: PoolCheck;
  readonly sticky?: string;
  readonly protocol?: PoolProtocol;
  readonly verify?: boolean;
  readonly sni?: string;
  readonly host?: string;
  readonly send_proxy?: 'v1' | 'v2';
  readonly max_connections?: number;
  readonly timeouts?: PoolTimeouts;
  readonly retries?: number;
}

export const POOL_PROTOCOLS = ['http', 'h2c', 'https', 'h2'] as const;
export type PoolProtocol = (typeof POOL_PROTOCOLS)[number];
export const CHECK_TYPES = ['tcp', 'http'] as const;
export const CHECK_METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST'] as const;
export const SEND_PROXY = ['v1', 'v2'] as const;

/** The longest duration in seconds: HAProxy counts milliseconds in 31 bits. */
export const MAX_POOL_SECONDS = 2_147_483;
export const MAX_CHECKS = 100;
export const MAX_CONNECTIONS = 1_000_000;
export const MAX_RETRIES = 100;

/**
 * The texts that become words of pools.cfg and of `add server`. None has a character with a meaning there: a blank, a
 * quote, a backslash, `#`, `$`, `%[`, or a control character.
 */
const BALANCE =
  /^(?:roundrobin|leastconn|random|source|uri|hdr\([A-Za-z0-9-]{1,64}\)|url_param [A-Za-z0-9_.-]{1,64}|hash [a-z][A-Za-z0-9_.,()-]{0,199})$/;
const CHECK_PATH = /^\/[A-Za-z0-9/._~!&()*+,;=:@%?-]{0,1999}$/;
const HOST_WITH_PORT =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*(?::\d{1,5})?$/;
const HOST =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;
const COOKIE = /^[A-Za-z0-9_.-]{1,64}$/;

export const BALANCE_RULE =
  'roundrobin, leastconn, random, or a hash: source, uri, hdr(NAME), url_param NAME or hash EXPRESSION (such as hash ' +
  'req.cook(user)). HAProxy adds no server to a pool with another algorithm while it runs';

const seconds = integerRule(1, MAX_POOL_SECONDS);
const hostRule = textRule(HOST_WITH_PORT, 'a host name, with :PORT if needed');

const SHAPE = objectRule({
  balance: textRule(BALANCE, BALANCE_RULE),
  check: objectRule(
    {
      type: oneOfRule(...CHECK_TYPES),
      method: oneOfRule(...CHECK_METHODS),
      path: textRule(CHECK_PATH, 'a path that begins with /, without quotes, spaces and #'),
      host: hostRule,
      status: integerRule(100, 599),
      interval: seconds,
      rise: integerRule(1, MAX_CHECKS),
      fall: integerRule(1, MAX_CHECKS),
    },
    ['type'],
  ),
  sticky: textRule(COOKIE, 'the name of a cookie: 1 to 64 characters of A-Z a-z 0-9 _ . -'),
  protocol: oneOfRule(...POOL_PROTOCOLS),
  verify: booleanRule,
  sni: textRule(HOST, 'a host name'),
  host: hostRule,
  send_proxy: oneOfRule(...SEND_PROXY),
  max_connections: integerRule(1, MAX_CONNECTIONS),
  timeouts: objectRule({ connect: seconds, server: seconds, queue: seconds, tunnel: seconds }),
  retries: integerRule(0, MAX_RETRIES),
});

/** The first problem in the options of a pool; undefined if they are valid. `path` is where they are. */
export function findPoolOptionsProblem(
  value: unknown,
  path: JsonProblem['path'] = [],
): JsonProblem | undefined {
  return SHAPE(value, path) ?? contradictionIn(value as PoolOptions, path);
}

/** An option that would have no effect beside the others. */
function contradictionIn(
  { check, protocol, verify, sni }: PoolOptions,
  path: JsonProblem['path'],
): JsonProblem | undefined {
  const name = (['method', 'path', 'host', 'status'] as const).find((key) => check?.[key] !== undefined);
  if (check?.type === 'tcp' && name !== undefined)
    return { path: [...path, 'check', name], reason: 'is only for a check of type http' };
  if (protocol === 'https' || protocol === 'h2') return undefined;
  const tls = verify === undefined ? (sni === undefined ? undefined : 'sni') : 'verify';
  return tls === undefined ? undefined : { path: [...path, tls], reason: 'is only for protocol https or h2' };
}

/** The options without empty parts; undefined if nothing is left. */
export function withoutEmptyOptions(options: PoolOptions): PoolOptions | undefined {
  const kept = Object.entries(options).filter(
    ([, value]: [string, unknown]) =>
      value !== undefined &&
      !(typeof value === 'object' && value !== null && Object.keys(value).length === 0),
  );
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}
