import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { canonicalDomain, DOMAIN_RULE } from '../../model/domain-name.js';
import type { PoolServers } from '../../model/server.js';
import { Draft, type State, type StateDelta } from '../../model/state.js';
import { poolsWithChangedServers } from '../../model/state-delta.js';
import { InvalidDocumentError, requireInteger, requireKeys, requireObject } from './json-document.js';
import { readPoolName, readServers, renderServers } from './servers-json.js';

const JOURNAL_VERSION = 1;

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
}

export function baseOf(revision: number, text: string): JournalBase {
  return { revision, sha256: createHash('sha256').update(text).digest('hex') };
}

export function recordOf(delta: StateDelta, before: State, to: number): JournalRecord {
  const servers: [string, PoolServers][] = [];
  for (const name of poolsWithChangedServers(delta, before)) {
    const pool = delta.pools.get(name);
    if (pool) servers.push([name, pool.servers]);
  }
  const domains = [...delta.domains].map(([domain, pool]) => [domain, pool ?? null] as const);
  return { from: before.revision, to, domains, servers };
}

/** One line, without its line feed. */
export function renderBase(base: JournalBase): string {
  return JSON.stringify({ version: JOURNAL_VERSION, base });
}

/** @throws InvalidDocumentError */
export function parseBase(line: string): JournalBase {
  const root = requireObject(parseLine(line), []);
  requireKeys(root, ['version', 'base'], []);
  requireInteger(root['version'], JOURNAL_VERSION, JOURNAL_VERSION, ['version']);
  const base = requireObject(root['base'], ['base']);
  requireKeys(base, ['revision', 'sha256'], ['base']);
  if (typeof base['sha256'] !== 'string')
    throw new InvalidDocumentError(['base', 'sha256'], 'base.sha256 must be a string');
  return { revision: readRevision(base['revision'], 'revision'), sha256: base['sha256'] };
}

/** One line, without its line feed. */
export function renderRecord({ from, to, domains, servers }: JournalRecord): string {
  const pools = servers.map(([pool, slots]) => [pool, renderServers(slots)]);
  return JSON.stringify({ from, to, domains, servers: pools });
}

/** Strict, because the content is sent to HAProxy without another check. @throws InvalidDocumentError */
export function parseRecord(line: string): JournalRecord {
  const root = requireObject(parseLine(line), []);
  requireKeys(root, ['from', 'to', 'domains', 'servers'], []);
  return {
    from: readRevision(root['from'], 'from'),
    to: readRevision(root['to'], 'to'),
    domains: readPairs(root['domains'], 'domains').map(([domain, pool]) => {
      if (canonicalDomain(domain) !== domain)
        throw new InvalidDocumentError(['domains'], `${JSON.stringify(domain)} is not ${DOMAIN_RULE}`);
      return [domain, pool === null ? null : readPoolName(pool, ['domains'])];
    }),
    servers: readPairs(root['servers'], 'servers').map(([pool, servers]) => [
      readPoolName(pool, ['servers']),
      readServers(servers, ['servers', pool]),
    ]),
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
  const pools = new Map<string, { domains: string[]; servers: PoolServers }>();
  const changedPool = (name: string) => {
    const known = pools.get(name);
    if (known) return known;
    const { domains, servers } = state.pool(name) ?? { domains: [], servers: new Map() };
    const pool = { domains: domains.filter((domain) => !moved.has(domain)), servers };
    pools.set(name, pool);
    return pool;
  };
  for (const name of formerPools) changedPool(name);
  for (const [domain, name] of record.domains) {
    draft.domains.set(domain, name ?? undefined);
    if (name !== null) changedPool(name).domains.push(domain);
  }
  for (const [name, servers] of record.servers) changedPool(name).servers = servers;
  for (const [name, pool] of pools) {
    if (pool.domains.length === 0 && !state.pool(name))
      throw new InvalidDocumentError(['servers'], `${name} has servers but no domain`);
    draft.pools.set(name, pool.domains.length === 0 ? undefined : pool);
  }
  state.apply(draft, record.to);
}

/** Whether a state has everything that the records changed, as the last record of each domain and pool left it. */
export function includesRecords(state: State, records: readonly JournalRecord[]): boolean {
  const domains = new Map(records.flatMap((record) => record.domains));
  const servers = new Map(records.flatMap((record) => record.servers));
  return (
    [...domains].every(([domain, pool]) => (state.poolOf(domain) ?? null) === pool) &&
    // A pool that the state does not have became free; the records of its domains show that.
    [...servers].every(([name, own]) => isDeepStrictEqual(state.pool(name)?.servers ?? own, own))
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
