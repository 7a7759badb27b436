import { DOMAIN_RULE, knownDomain } from '../../model/names/domain-name.js';
import {
  findPoolOptionsProblem,
  findSiteProblem,
  type PoolOptions,
  type SiteOptions,
} from '../../model/options/options.js';
import { BACKEND_NAME, isPoolName, isSuiteBackend, parseSlot } from '../../model/names/pool-name.js';
import { findServerProblem, type PoolServers, type ServerSpec } from '../../model/server.js';
import { findSiteRuleProblem } from '../../model/sites/site-rules.js';
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

/** The version that the suite writes. */
export const STATE_VERSION = 2;
/** Version 0.1 wrote version 1, which has no `external`, `options` and `sites`. */
const FIRST_VERSION = 1;
const NO_KEYS: readonly string[] = [];
const POOL_KEYS_OF_VERSION_2 = ['external', 'options'];
const NO_SERVERS: PoolServers = new Map();
const SERVER_KEYS = ['ip', 'http_port', 'weight', 'state'] as const;

/** `servers.json` or its journal cannot be used. The message names file, line and reason. */
export class StateFileError extends Error {
  constructor(file: string, line: number, reason: string) {
    super(`${file}:${line}: ${reason}`);
    this.name = 'StateFileError';
  }
}

/** The content of `servers.json`. */
interface StateDocument {
  version: number;
  state: State;
}

/**
 * Parses `servers.json` (SPEC section 3). Strict: an unknown key is an error, and every rule of SPEC section 4 applies,
 * because the content is sent to HAProxy without another check.
 *
 * @throws StateFileError
 */
export function parseState(text: string, file: string): StateDocument {
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

/** Whether the text is a `servers.json` of the version that the suite writes. It may have errors elsewhere. */
export function hasStateVersion(text: string): boolean {
  const parsed = parseJson(text);
  return parsed.ok && isRecord(parsed.value) && parsed.value['version'] === STATE_VERSION;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function readState(value: unknown): StateDocument {
  const root = requireObject(value, []);
  const version = root['version'];
  if (version !== FIRST_VERSION && version !== STATE_VERSION)
    throw new InvalidDocumentError(
      ['version'],
      `version is ${JSON.stringify(version)}, and this suite reads versions ${FIRST_VERSION} and ${STATE_VERSION}; ` +
        'start the suite that wrote the file, or a newer one',
    );
  requireKeys(root, ['version', 'revision', 'pools'], [], version === FIRST_VERSION ? NO_KEYS : ['sites']);
  const revision = requireInteger(root['revision'], 0, Number.MAX_SAFE_INTEGER, ['revision']);
  const optional = version === FIRST_VERSION ? NO_KEYS : POOL_KEYS_OF_VERSION_2;
  const poolOf = new Map<string, string>();
  const pools: [string, Pool][] = [];
  for (const [name, pool] of Object.entries(requireObject(root['pools'], ['pools']))) {
    const path = ['pools', name];
    pools.push([name, readPool(name, pool, path, poolOf, optional)]);
  }
  return { version, state: new State(revision, pools, readSites(root['sites'], poolOf), poolOf) };
}

function readSites(value: unknown, poolOf: ReadonlyMap<string, string>): [string, SiteOptions][] {
  if (value === undefined) return [];
  return Object.entries(requireObject(value, ['sites'])).map(([host, site]) => {
    if (!poolOf.has(host))
      throw new InvalidDocumentError(['sites', host], `sites has ${JSON.stringify(host)}, which no pool has`);
    return [host, readSite(site, ['sites', host])];
  });
}

/**
 * Also refuses options that the rules in HAProxy cannot carry out: without them the site would be open to all.
 *
 * @throws InvalidDocumentError
 */
export function readSite(value: unknown, path: JsonPath): SiteOptions {
  refuse(findSiteProblem(value, path));
  const site = value as SiteOptions;
  const problem = findSiteRuleProblem(site);
  if (problem) {
    // `allow[3]` → allow, 3
    const parts = problem.field.match(/[^.[\]]+/g) ?? [];
    const at = [...path, ...parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part))];
    // The message names tools in braces.
    const message = problem.message.replaceAll(/[{}]/g, '');
    refuse({ path: at, reason: message });
  }
  return site;
}

/** @throws InvalidDocumentError */
export function readPoolOptions(value: unknown, path: JsonPath): PoolOptions {
  refuse(findPoolOptionsProblem(value, path));
  return value as PoolOptions;
}

function refuse(problem: ReturnType<typeof findSiteProblem>): void {
  if (problem) throw new InvalidDocumentError(problem.path, `${labelOf(problem.path)} ${problem.reason}`);
}

/** @throws InvalidDocumentError */
export function readPoolName(value: unknown, path: JsonPath): string {
  if (typeof value !== 'string' || !isPoolName(value))
    throw new InvalidDocumentError(path, `${JSON.stringify(value)} is not pool_1, pool_2, …`);
  return value;
}

/** The name of a pool, or of a backend of the operator. @throws InvalidDocumentError */
export function readBackendName(value: unknown, path: JsonPath): string {
  if (typeof value !== 'string' || !BACKEND_NAME.test(value) || isSuiteBackend(value))
    throw new InvalidDocumentError(path, `${JSON.stringify(value)} is not the name of a backend`);
  return value;
}

/** `poolOf` collects the domains of all pools. `optional` are the keys that the version of the file may have. */
function readPool(
  name: string,
  value: unknown,
  path: JsonPath,
  poolOf: Map<string, string>,
  optional: readonly string[],
): Pool {
  const pool = requireObject(value, path);
  const external = readExternal(pool['external'], [...path, 'external']);
  // The servers of an external pool are not in the file.
  requireKeys(pool, external ? ['domains'] : ['domains', 'servers'], path, optional);
  if (external) readBackendName(name, path);
  else readPoolName(name, path);
  const domains = pool['domains'];
  if (!Array.isArray(domains) || domains.length === 0)
    throw new InvalidDocumentError(
      [...path, 'domains'],
      `${name}: domains must be a list of at least one domain`,
    );
  domains.forEach((domain: unknown, index) => {
    // A state may have 100,000 domains, so the path is made for an error only.
    const at = () => [...path, 'domains', index];
    if (typeof domain !== 'string' || knownDomain(domain) !== domain)
      throw new InvalidDocumentError(at(), `${name}: ${JSON.stringify(domain)} is not ${DOMAIN_RULE}`);
    const other = poolOf.get(domain);
    if (other !== undefined) throw new InvalidDocumentError(at(), `${domain} is in ${other} and in ${name}`);
    poolOf.set(domain, name);
  });
  const own = { domains: domains as string[] };
  if (external) {
    if (pool['options'] !== undefined)
      throw new InvalidDocumentError(
        [...path, 'options'],
        `${name} is external, and a pool of the operator has no options here`,
      );
    return { ...own, servers: NO_SERVERS, external: true };
  }
  const servers = readServers(pool['servers'], [...path, 'servers']);
  if (pool['options'] === undefined) return { ...own, servers };
  return { ...own, servers, options: readPoolOptions(pool['options'], [...path, 'options']) };
}

function readExternal(value: unknown, path: JsonPath): boolean {
  if (value === undefined || value === true) return value === true;
  throw new InvalidDocumentError(path, `${labelOf(path)} must be true, or absent`);
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

/** The text of `servers.json`, with one pool and one site on each line. */
export function renderState(
  revision: number,
  pools: Iterable<readonly [string, Pool]>,
  sites: Iterable<readonly [string, SiteOptions]> = [],
  version = STATE_VERSION,
): string {
  const body = renderLines(pools, renderPoolJson);
  const siteLines = renderLines(sites, (site) => JSON.stringify(site));
  const tail = siteLines === '{}' ? '' : `,\n  "sites": ${siteLines}`;
  return `{ "version": ${version}, "revision": ${revision},\n  "pools": ${body}${tail} }\n`;
}

function renderLines<T>(entries: Iterable<readonly [string, T]>, render: (value: T) => string): string {
  const lines: string[] = [];
  for (const [name, value] of entries) lines.push(`    ${JSON.stringify(name)}: ${render(value)}`);
  return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n  }`;
}

function renderPoolJson(pool: Pool): string {
  let text = renderedPools.get(pool);
  if (text === undefined) {
    const { domains, servers, external, options } = pool;
    text = JSON.stringify(
      external
        ? { external, domains }
        : { domains, servers: renderServers(servers), ...(options && { options }) },
    );
    renderedPools.set(pool, text);
  }
  return text;
}

/** The reverse of `readServers`. */
export function renderServers(servers: PoolServers): Record<string, ServerSpec> {
  return Object.fromEntries(servers);
}
