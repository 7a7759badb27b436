import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { DOMAIN_RULE, knownDomain } from '../../model/names/domain-name.js';
import type { PoolServers } from '../../model/server.js';
import type { SiteOptions } from '../../model/options/options.js';
import { Draft } from '../../model/draft.js';
import type { Pool, State, StateDelta } from '../../model/state.js';
import { poolsWithChangedServers } from '../../model/change/state-delta.js';
import { InvalidDocumentError, requireInteger, requireKeys, requireObject } from './json-document.js';
import {
  readBackendName,
  readPoolName,
  readPoolOptions,
  readServers,
  readSite,
  renderServers,
} from './servers-json.js';

/** The version that the suite writes. Version 1, of suite 0.1, has no `pools` and no `sites` in its records. */
const JOURNAL_VERSION = 2;

/** What a pool has beside domains and servers. */
type PoolProperties = Pick<Pool, 'external' | 'options'>;

/** The `servers.json` that the records of a journal are applied to. It is the first line of the journal. */
export interface JournalBase {
  revision: number;
  /** SHA-256 of the text of `servers.json`, in hexadecimal. */
  sha256: string;
}

/** What one commit changed. One line of the journal. */
export interface JournalRecord {
  /** The revision before the commit. */
  from: number;
  /** The revision after the commit. */
  to: number;
  /** Domain → its new pool, or null for a removed domain. In the order in which the domains are added to their pools. */
  domains: readonly (readonly [domain: string, pool: string | null])[];
  /** The servers of the pools whose servers changed. */
  servers: readonly (readonly [pool: string, servers: PoolServers])[];
  /** The pools whose properties changed. Empty properties for a pool that becomes free and had some. */
  pools?: readonly (readonly [pool: string, properties: PoolProperties])[];
  /** Host → its new options, or null for a host without options. */
  sites?: readonly (readonly [host: string, site: SiteOptions | null])[];
}

export function baseOf(revision: number, text: string): JournalBase {
  return { revision, sha256: createHash('sha256').update(text).digest('hex') };
}

export function recordOf(delta: StateDelta, before: State, to: number): JournalRecord {
  const servers: [string, PoolServers][] = [];
  for (const name of poolsWithChangedServers(delta, before)) {
    const pool = delta.pools.get(name);
    if (pool && !pool.external) servers.push([name, pool.servers]);
  }
  const pools: [string, PoolProperties][] = [];
  // Also for a pool that becomes free, so that the last record of a pool has its present properties.
  for (const [name, pool] of delta.pools)
    if (!isDeepStrictEqual(propertiesOf(pool), propertiesOf(before.pool(name))))
      pools.push([name, propertiesOf(pool)]);
  const sites = [...(delta.sites ?? [])].map(([host, site]) => [host, site ?? null] as const);
  const domains = [...delta.domains].map(([domain, pool]) => [domain, pool ?? null] as const);
  return {
    from: before.revision,
    to,
    domains,
    servers,
    ...(pools.length > 0 && { pools }),
    ...(sites.length > 0 && { sites }),
  };
}

function propertiesOf(pool: Pool | undefined): PoolProperties {
  return { ...(pool?.external && { external: true }), ...(pool?.options && { options: pool.options }) };
}

/** One line, without its line feed. */
export function renderBase(base: JournalBase): string {
  return JSON.stringify({ version: JOURNAL_VERSION, base });
}

/** @throws InvalidDocumentError */
export function parseBase(line: string): JournalBase {
  const root = requireObject(parseLine(line), []);
  requireKeys(root, ['version', 'base'], []);
  requireInteger(root['version'], 1, JOURNAL_VERSION, ['version']);
  const base = requireObject(root['base'], ['base']);
  requireKeys(base, ['revision', 'sha256'], ['base']);
  if (typeof base['sha256'] !== 'string')
    throw new InvalidDocumentError(['base', 'sha256'], 'base.sha256 must be a string');
  return { revision: readRevision(base['revision'], 'revision'), sha256: base['sha256'] };
}

/** One line, without its line feed. */
export function renderRecord({ servers, ...record }: JournalRecord): string {
  const slots = servers.map(([pool, own]) => [pool, renderServers(own)]);
  const { from, to, domains, ...rest } = record;
  return JSON.stringify({ from, to, domains, servers: slots, ...rest });
}

/** Strict, because the content is sent to HAProxy without another check. @throws InvalidDocumentError */
export function parseRecord(line: string): JournalRecord {
  const root = requireObject(parseLine(line), []);
  requireKeys(root, ['from', 'to', 'domains', 'servers'], [], ['pools', 'sites']);
  return {
    from: readRevision(root['from'], 'from'),
    to: readRevision(root['to'], 'to'),
    domains: readPairs(root['domains'], 'domains').map(([domain, pool]) => {
      if (knownDomain(domain) !== domain)
        throw new InvalidDocumentError(['domains'], `${JSON.stringify(domain)} is not ${DOMAIN_RULE}`);
      return [domain, pool === null ? null : readBackendName(pool, ['domains'])];
    }),
    servers: readPairs(root['servers'], 'servers').map(([pool, servers]) => [
      readPoolName(pool, ['servers']),
      readServers(servers, ['servers', pool]),
    ]),
    ...(root['pools'] !== undefined && {
      pools: readPairs(root['pools'], 'pools').map(([pool, properties]) => [
        readBackendName(pool, ['pools']),
        readProperties(properties, ['pools', pool]),
      ]),
    }),
    ...(root['sites'] !== undefined && {
      sites: readPairs(root['sites'], 'sites').map(([host, site]) => [
        host,
        site === null ? null : readSite(site, ['sites', host]),
      ]),
    }),
  };
}

function readProperties(value: unknown, path: readonly string[]): PoolProperties {
  const properties = requireObject(value, path);
  requireKeys(properties, [], path, ['external', 'options']);
  if (properties['external'] !== undefined && properties['external'] !== true)
    throw new InvalidDocumentError(path, `${path.join('.')}: external must be true, or absent`);
  const options = properties['options'];
  return {
    ...(properties['external'] === true && { external: true }),
    ...(options !== undefined && { options: readPoolOptions(options, [...path, 'options']) }),
  };
}

/** Applies a record to a state. @throws InvalidDocumentError if the record was not made from this state */
export function replay(record: JournalRecord, state: State): void {
  const draft = new Draft(state);
  const moved = new Set(record.domains.map(([domain]) => domain));
  const formerPools = new Set(
    [...moved].map((domain) => state.poolOf(domain)).filter((name) => name !== undefined),
  );
  // A pool becomes free only if it has no domain at the end. Domains that came and went within the commit are not in the
  // record.
  const pools = new Map<string, { domains: string[]; servers: PoolServers } & PoolProperties>();
  const changedPool = (name: string) => {
    const known = pools.get(name);
    if (known) return known;
    const { domains, ...rest } = state.pool(name) ?? { domains: [], servers: new Map() };
    const pool = { ...rest, domains: domains.filter((domain) => !moved.has(domain)) };
    pools.set(name, pool);
    return pool;
  };
  for (const name of formerPools) changedPool(name);
  for (const [domain, name] of record.domains) {
    draft.domains.set(domain, name ?? undefined);
    if (name !== null) changedPool(name).domains.push(domain);
  }
  for (const [name, servers] of record.servers) changedPool(name).servers = servers;
  for (const [name, properties] of record.pools ?? []) {
    const { domains, servers } = changedPool(name);
    pools.set(name, { domains, servers, ...properties });
  }
  for (const [name, pool] of pools) {
    if (pool.domains.length === 0 && !state.pool(name))
      throw new InvalidDocumentError(['servers'], `${name} has servers but no domain`);
    if (pool.domains.length > 0) requireConsistent(name, pool);
    draft.pools.set(name, pool.domains.length === 0 ? undefined : pool);
  }
  for (const [host, site] of record.sites ?? []) {
    if (site !== null && draft.poolOf(host) === undefined)
      throw new InvalidDocumentError(['sites'], `sites has ${JSON.stringify(host)}, which no pool has`);
    draft.sites.set(host, site ?? undefined);
  }
  state.apply(draft, record.to);
}

/** @throws InvalidDocumentError if `servers.json` could not hold the pool */
function requireConsistent(name: string, { external, servers, options }: Omit<Pool, 'domains'>): void {
  if (!external) readPoolName(name, ['pools']);
  else if (servers.size > 0 || options)
    throw new InvalidDocumentError(['pools'], `${name} is external, but has servers or options`);
}

/** Whether a state has everything that the records changed, as the last record of each domain and pool left it. */
export function includesRecords(state: State, records: readonly JournalRecord[]): boolean {
  const domains = new Map(records.flatMap((record) => record.domains));
  const servers = new Map(records.flatMap((record) => record.servers));
  const pools = new Map(records.flatMap((record) => record.pools ?? []));
  const sites = new Map(records.flatMap((record) => record.sites ?? []));
  return (
    [...domains].every(([domain, pool]) => (state.poolOf(domain) ?? null) === pool) &&
    // A pool that the state does not have became free; the records of its domains show that.
    [...servers].every(([name, own]) => isDeepStrictEqual(state.pool(name)?.servers ?? own, own)) &&
    [...pools].every(
      ([name, own]) => !state.pool(name) || isDeepStrictEqual(propertiesOf(state.pool(name)), own),
    ) &&
    [...sites].every(([host, site]) => isDeepStrictEqual(state.site(host) ?? null, site))
  );
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new InvalidDocumentError([], 'not valid JSON');
  }
}

function readPairs(value: unknown, key: string): [string, unknown][] {
  if (!Array.isArray(value) || !value.every(isPair))
    throw new InvalidDocumentError([key], `${key} must be a list of pairs`);
  return value;
}

function isPair(value: unknown): value is [string, unknown] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string';
}

function readRevision(value: unknown, key: string): number {
  return requireInteger(value, 0, Number.MAX_SAFE_INTEGER, [key]);
}
