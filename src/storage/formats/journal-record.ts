import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { canonicalDomain, DOMAIN_RULE } from '../../model/domain-name.js';
import type { PoolServers } from '../../model/routing.js';
import { Broken, integer, keys, object, readServers } from './servers-json.js';
import { Draft, poolNumber, type State, type StateDelta } from '../../model/state.js';

/** Which `servers.json` a journal goes on from. */
export interface JournalBase {
  revision: number;
  /** SHA-256 of the text, in hexadecimal. */
  sha256: string;
}

/** What one commit changed: enough to do it again. */
export interface StateRecord {
  /** The revision that it was made on, and the one that it made. */
  from: number;
  to: number;
  /** Domain → its pool from now on, or null where it is removed. In the order in which they join their pools. */
  domains: readonly (readonly [domain: string, pool: string | null])[];
  /** The servers of pools that have others than before. */
  servers: readonly (readonly [pool: string, servers: PoolServers])[];
}

export function baseOf(revision: number, text: string): JournalBase {
  return { revision, sha256: createHash('sha256').update(text).digest('hex') };
}

export function recordOf(change: StateDelta, before: State, to: number): StateRecord {
  const servers: [string, PoolServers][] = [];
  for (const [name, pool] of change.pools)
    if (pool && pool.servers !== before.pool(name)?.servers) servers.push([name, pool.servers]);
  const domains = [...change.domains].map(([domain, pool]) => [domain, pool ?? null] as const);
  return { from: before.revision, to, domains, servers };
}

/** One line. */
export function renderRecord({ from, to, domains, servers }: StateRecord): string {
  const plain = servers.map(([pool, slots]) => [pool, Object.fromEntries(slots)]);
  return JSON.stringify({ from, to, domains, servers: plain });
}

/** @throws Broken */
export function readBase(value: unknown): JournalBase {
  const root = object(value, []);
  keys(root, ['version', 'base'], []);
  integer(root['version'], 1, 1, ['version']);
  const base = object(root['base'], ['base']);
  keys(base, ['revision', 'sha256'], ['base']);
  if (typeof base['sha256'] !== 'string') throw new Broken(['base', 'sha256'], 'base.sha256 is no text');
  return { revision: revision(base['revision'], 'revision'), sha256: base['sha256'] };
}

export function renderBase(base: JournalBase): string {
  return JSON.stringify({ version: 1, base });
}

/** Strict, as what it tells is put into HAProxy without a further look. @throws Broken */
export function readRecord(value: unknown): StateRecord {
  const root = object(value, []);
  keys(root, ['from', 'to', 'domains', 'servers'], []);
  const { domains, servers } = root;
  return {
    from: revision(root['from'], 'from'),
    to: revision(root['to'], 'to'),
    domains: pairs(domains, 'domains').map(([domain, pool]) => {
      if (canonicalDomain(domain) !== domain)
        throw new Broken(['domains'], `${JSON.stringify(domain)} is not ${DOMAIN_RULE}`);
      return [domain, pool === null ? null : poolName(pool)];
    }),
    servers: pairs(servers, 'servers').map(([pool, slots]) => [
      poolName(pool),
      readServers(pool, slots, ['servers']),
    ]),
  };
}

/** Does again what a record tells. @throws Broken where it cannot have been made on this state */
export function replay(record: StateRecord, state: State): void {
  const draft = new Draft(state);
  const leaving = new Set(record.domains.map(([domain]) => domain));
  const left = new Set(
    [...leaving].map((domain) => state.poolOf(domain)).filter((name) => name !== undefined),
  );
  // A pool is given back only if nothing is in it in the end; what came and went in between is not in the record.
  const pools = new Map<string, { domains: string[]; servers: PoolServers }>();
  const poolFor = (name: string) => {
    const known = pools.get(name);
    if (known) return known;
    const { domains, servers } = state.pool(name) ?? { domains: [], servers: new Map() };
    const pool = { domains: domains.filter((domain) => !leaving.has(domain)), servers };
    pools.set(name, pool);
    return pool;
  };
  for (const name of left) poolFor(name);
  for (const [domain, name] of record.domains) {
    draft.domains.set(domain, name ?? undefined);
    if (name !== null) poolFor(name).domains.push(domain);
  }
  for (const [name, servers] of record.servers) poolFor(name).servers = servers;
  for (const [name, pool] of pools) {
    if (pool.domains.length === 0 && !state.pool(name))
      throw new Broken(['servers'], `${name} has servers but no domain`);
    draft.pools.set(name, pool.domains.length === 0 ? undefined : pool);
  }
  state.fold(draft, record.to);
}

/** Whether a state has what records changed, as the last of them left it. */
export function hasAlready(state: State, records: readonly StateRecord[]): boolean {
  const domains = new Map(records.flatMap((record) => record.domains));
  const servers = new Map(records.flatMap((record) => record.servers));
  return (
    [...domains].every(([domain, pool]) => (state.poolOf(domain) ?? null) === pool) &&
    // A pool that is not there was given back: its domains say so.
    [...servers].every(([name, own]) => isDeepStrictEqual(state.pool(name)?.servers ?? own, own))
  );
}

function pairs(value: unknown, key: string): [string, unknown][] {
  if (!Array.isArray(value) || !value.every(isPair)) throw new Broken([key], `${key} is no list of pairs`);
  return value;
}

function isPair(value: unknown): value is [string, unknown] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string';
}

function poolName(value: unknown): string {
  if (typeof value !== 'string' || poolNumber(value) === undefined)
    throw new Broken([], `${JSON.stringify(value)} is not pool_1, pool_2, …`);
  return value;
}

function revision(value: unknown, key: string): number {
  return integer(value, 0, Number.MAX_SAFE_INTEGER, [key]);
}
