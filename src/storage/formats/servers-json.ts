import { canonicalDomain, DOMAIN_RULE } from '../../model/domain-name.js';
import { isPoolName, parseSlot } from '../../model/pool-name.js';
import { findServerProblem, type PoolServers, type ServerSpec } from '../../model/server.js';
import { State, type Pool } from '../../model/state.js';
import {
  InvalidDocumentError,
  type JsonPath,
  labelOf,
  lineOfPath,
  parseJson,
  requireInteger,
  requireKeys,
  requireObject,
} from './json-document.js';

const STATE_VERSION = 1;
const SERVER_KEYS = ['ip', 'http_port', 'weight', 'state'] as const;

/** `servers.json` or its journal cannot be used. The message names file, line and reason. */
export class StateFileError extends Error {
  constructor(file: string, line: number, reason: string) {
    super(`${file}:${line}: ${reason}`);
    this.name = 'StateFileError';
  }
}

/**
 * Parses `servers.json` (SPEC section 3). Strict: every key is required, an unknown key is an error, and every rule of
 * SPEC section 4 applies, because the content is sent to HAProxy without another check.
 *
 * @throws StateFileError
 */
export function parseState(text: string, file: string): State {
  const parsed = parseJson(text);
  if (!parsed.ok) throw new StateFileError(file, parsed.line, parsed.reason);
  try {
    return readState(parsed.value);
  } catch (error) {
    if (error instanceof InvalidDocumentError)
      throw new StateFileError(file, lineOfPath(text, error.path), error.message);
    throw error;
  }
}

function readState(value: unknown): State {
  const root = requireObject(value, []);
  if (root['version'] !== STATE_VERSION)
    throw new InvalidDocumentError(
      ['version'],
      `version is ${JSON.stringify(root['version'])}, and this suite reads version ${STATE_VERSION}; ` +
        'start the suite that wrote the file, or a newer one',
    );
  requireKeys(root, ['version', 'revision', 'pools'], []);
  const revision = requireInteger(root['revision'], 0, Number.MAX_SAFE_INTEGER, ['revision']);
  const poolOf = new Map<string, string>();
  const pools: [string, Pool][] = [];
  for (const [name, pool] of Object.entries(requireObject(root['pools'], ['pools']))) {
    const path = ['pools', name];
    pools.push([readPoolName(name, path), readPool(name, pool, path, poolOf)]);
  }
  return new State(revision, pools);
}

/** @throws InvalidDocumentError */
export function readPoolName(value: unknown, path: JsonPath): string {
  if (typeof value !== 'string' || !isPoolName(value))
    throw new InvalidDocumentError(path, `${JSON.stringify(value)} is not pool_1, pool_2, …`);
  return value;
}

/** `poolOf` collects the domains of all pools. */
function readPool(name: string, value: unknown, path: JsonPath, poolOf: Map<string, string>): Pool {
  const pool = requireObject(value, path);
  requireKeys(pool, ['domains', 'servers'], path);
  const domains = pool['domains'];
  if (!Array.isArray(domains) || domains.length === 0)
    throw new InvalidDocumentError(
      [...path, 'domains'],
      `${name}: domains must be a list of at least one domain`,
    );
  domains.forEach((domain: unknown, index) => {
    const at = [...path, 'domains', index];
    if (typeof domain !== 'string' || canonicalDomain(domain) !== domain)
      throw new InvalidDocumentError(at, `${name}: ${JSON.stringify(domain)} is not ${DOMAIN_RULE}`);
    const other = poolOf.get(domain);
    if (other !== undefined) throw new InvalidDocumentError(at, `${domain} is in ${other} and in ${name}`);
    poolOf.set(domain, name);
  });
  return { domains: domains as string[], servers: readServers(pool['servers'], [...path, 'servers']) };
}

/** Reads an object of slot → server. @throws InvalidDocumentError */
export function readServers(value: unknown, path: JsonPath): PoolServers {
  const servers = new Map<number, ServerSpec>();
  for (const [slot, server] of Object.entries(requireObject(value, path)))
    servers.set(Number(slot), readServer(slot, server, [...path, slot]));
  return servers;
}

function readServer(slot: string, value: unknown, path: JsonPath): ServerSpec {
  const server = requireObject(value, path);
  requireKeys(server, SERVER_KEYS, path);
  const { ip, http_port, weight, state } = server as Record<keyof ServerSpec, unknown>;
  const problem = findServerProblem({ slot: parseSlot(slot) ?? slot, ip, http_port, weight, state });
  if (problem) {
    const { field, value: wrong, allowed } = problem;
    const canonical = field === 'ip' ? ' in canonical form' : '';
    throw new InvalidDocumentError(
      [...path, field],
      `${labelOf(path)}: ${field} ${JSON.stringify(wrong)} is not ${allowed}${canonical}`,
    );
  }
  return { ip, http_port, weight, state } as ServerSpec;
}

/** Pools are immutable, so a commit renders only the pools that it changes. */
const renderedPools = new WeakMap<Pool, string>();

/** The text of `servers.json`, with one pool on each line. */
export function renderState(revision: number, pools: Iterable<readonly [string, Pool]>): string {
  const lines: string[] = [];
  for (const [name, pool] of pools) lines.push(`    ${JSON.stringify(name)}: ${renderPoolJson(pool)}`);
  const body = lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n  }`;
  return `{ "version": ${STATE_VERSION}, "revision": ${revision},\n  "pools": ${body} }\n`;
}

function renderPoolJson(pool: Pool): string {
  let text = renderedPools.get(pool);
  if (text === undefined) {
    text = JSON.stringify({ domains: pool.domains, servers: renderServers(pool.servers) });
    renderedPools.set(pool, text);
  }
  return text;
}

/** The reverse of `readServers`. */
export function renderServers(servers: PoolServers): Record<string, ServerSpec> {
  return Object.fromEntries(servers);
}
