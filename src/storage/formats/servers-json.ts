import { canonicalDomain, DOMAIN_RULE } from '../../model/domain-name.js';
import { canonicalIp, IP_RULE } from '../../model/ip-address.js';
import { type PoolServers, SERVER_STATES, type ServerSpec, type ServerState } from '../../model/routing.js';
import { poolNumber, State, type Pool } from '../../model/state.js';
import { lineOfPath, parseJson } from './json-position.js';

export const STATE_VERSION = 1;
/** Slots a file may hold whatever HAPROXY_MAX_SLOTS says now, so that lowering it forgets no server. */
const SLOT_CEILING = 1000;

/** A state file that cannot be used: its message names file, line and reason. */
export class StateFileError extends Error {
  constructor(file: string, line: number, reason: string) {
    super(`${file}:${line}: ${reason}`);
    this.name = 'StateFileError';
  }
}

/** Where in a document something stands. */
export type Path = readonly (string | number)[];

/** What is wrong with a document, and where. */
export class Broken extends Error {
  constructor(
    readonly path: Path,
    reason: string,
  ) {
    super(reason);
  }
}

/**
 * Reads `servers.json` (SPEC section 3). Strict: every key is required, an unknown one is an error, and every rule
 * of section 4 holds, because what is accepted here is put into HAProxy without a further look.
 *
 * @throws StateFileError naming file, line and reason
 */
export function parseState(text: string, file: string): State {
  const parsed = parseJson(text);
  if (!parsed.ok) throw new StateFileError(file, parsed.line, parsed.reason);
  try {
    return readState(parsed.value);
  } catch (error) {
    if (error instanceof Broken) throw new StateFileError(file, lineOfPath(text, error.path), error.message);
    throw error;
  }
}

function readState(value: unknown): State {
  const root = object(value, []);
  if (root['version'] !== STATE_VERSION)
    throw new Broken(
      ['version'],
      `version is ${JSON.stringify(root['version'])}, this suite reads version ${STATE_VERSION}; ` +
        'a file from a newer suite needs that suite',
    );
  keys(root, ['version', 'revision', 'pools'], []);
  const revision = integer(root['revision'], 0, Number.MAX_SAFE_INTEGER, ['revision']);
  const seen = new Map<string, string>();
  const pools: [string, Pool][] = [];
  for (const [name, pool] of Object.entries(object(root['pools'], ['pools']))) {
    if (poolNumber(name) === undefined)
      throw new Broken(['pools', name], `${JSON.stringify(name)} is not pool_1, pool_2, …`);
    pools.push([name, readPool(name, pool, seen)]);
  }
  return new State(revision, pools);
}

function readPool(name: string, value: unknown, seen: Map<string, string>): Pool {
  const path: Path = ['pools', name];
  const pool = object(value, path);
  keys(pool, ['domains', 'servers'], path);
  const domains = pool['domains'];
  if (!Array.isArray(domains) || domains.length === 0)
    throw new Broken([...path, 'domains'], `${name}: domains must be a list of at least one domain`);
  domains.forEach((domain: unknown, index) => {
    const at = [...path, 'domains', index];
    if (typeof domain !== 'string' || canonicalDomain(domain) !== domain)
      throw new Broken(at, `${name}: ${JSON.stringify(domain)} is not ${DOMAIN_RULE}`);
    const other = seen.get(domain);
    if (other !== undefined) throw new Broken(at, `${domain} is in ${other} and in ${name}`);
    seen.set(domain, name);
  });
  return { domains: domains as string[], servers: readServers(name, pool['servers'], [...path, 'servers']) };
}

export function readServers(pool: string, value: unknown, path: Path): PoolServers {
  const servers = new Map<number, ServerSpec>();
  for (const [slot, server] of Object.entries(object(value, path))) {
    const at = [...path, slot];
    if (!/^[1-9]\d{0,3}$/.test(slot) || Number(slot) > SLOT_CEILING)
      throw new Broken(at, `${pool}: slot ${JSON.stringify(slot)} is not 1 to ${SLOT_CEILING}`);
    servers.set(Number(slot), readServer(server, at));
  }
  return servers;
}

function readServer(value: unknown, path: Path): ServerSpec {
  const server = object(value, path);
  keys(server, ['ip', 'http_port', 'weight', 'state'], path);
  const { ip, state } = server;
  if (typeof ip !== 'string' || canonicalIp(ip) !== ip)
    throw new Broken([...path, 'ip'], `ip ${JSON.stringify(ip)} is not ${IP_RULE} in canonical form`);
  if (!SERVER_STATES.includes(state as ServerState))
    throw new Broken(
      [...path, 'state'],
      `state ${JSON.stringify(state)} is not one of ${SERVER_STATES.join(', ')}`,
    );
  return {
    ip,
    http_port: integer(server['http_port'], 1, 65_535, [...path, 'http_port']),
    weight: integer(server['weight'], 0, 256, [...path, 'weight']),
    state: state as ServerState,
  };
}

export function object(value: unknown, path: Path): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Broken(path, `${label(path)} must be an object`);
  return value as Record<string, unknown>;
}

export function keys(value: Record<string, unknown>, allowed: readonly string[], path: Path): void {
  for (const key of Object.keys(value))
    if (!allowed.includes(key))
      throw new Broken([...path, key], `unknown key ${JSON.stringify(key)} in ${label(path)}`);
  for (const key of allowed)
    if (!Object.hasOwn(value, key))
      throw new Broken(path, `${label(path)} has no key ${JSON.stringify(key)}`);
}

export function integer(value: unknown, min: number, max: number, path: Path): number {
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max)
    throw new Broken(
      path,
      `${label(path)} is ${JSON.stringify(value)}, not a whole number from ${min} to ${max}`,
    );
  return value as number;
}

function label(path: Path): string {
  return path.length === 0 ? 'the file' : path.join('.');
}

const rendered = new WeakMap<Pool, string>();

/** The text of `servers.json`, a pool a line. Pools are immutable, so only changed ones are made anew. */
export function renderState(revision: number, pools: Iterable<readonly [string, Pool]>): string {
  const lines: string[] = [];
  for (const [name, pool] of pools) lines.push(`    ${JSON.stringify(name)}: ${renderPoolJson(pool)}`);
  const body = lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n  }`;
  return `{ "version": ${STATE_VERSION}, "revision": ${revision},\n  "pools": ${body} }\n`;
}

function renderPoolJson(pool: Pool): string {
  let text = rendered.get(pool);
  if (text === undefined) {
    text = JSON.stringify({ domains: pool.domains, servers: Object.fromEntries(pool.servers) });
    rendered.set(pool, text);
  }
  return text;
}
