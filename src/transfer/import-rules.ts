import { isDeepStrictEqual } from 'node:util';
import { AppError, type ErrorCode } from '../errors/app-error.js';
import { canonicalDomain, DOMAIN_RULE } from '../model/names/domain-name.js';
import { refuseLate } from '../domains/expiry-rules.js';
import { expiryOf } from '../model/options/expiry.js';
import type { PoolOptions } from '../model/options/options.js';
import { isPoolName, poolName, poolNumber } from '../model/names/pool-name.js';
import {
  DEFAULT_WEIGHT,
  isSameAddress,
  type PoolServers,
  serverAddress,
  type ServerSpec,
} from '../model/server.js';
import type { Draft } from '../model/draft.js';
import type { Pool } from '../model/state.js';
import { poolBeyond, poolsExhausted, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import type { DomainRecord } from './import-record.js';
import type { RecordServer } from './record-values.js';
import type { ImportMode } from './transfer.dto.js';

interface ImportLimits {
  /** The latest time that it can be, in milliseconds since the epoch. */
  now: number;
  pools: PoolLimit;
  maxSlots: number;
  /** Why no domain can point at a backend; undefined for a backend that can be used. */
  backendProblem?: (backend: string) => string | undefined;
}

/** Called for each line that breaks a rule. Throws if one such line fails the import. */
type OnProblem = (line: number, code: ErrorCode, message: string) => void;

/** A pool that the import changes. Only the import refers to it, so its list of domains can grow in place. */
interface ImportedPool {
  readonly domains: string[];
  servers: PoolServers;
  readonly external?: true;
  options?: PoolOptions;
}

/**
 * Puts the records into a draft. Domains with their own pool come first, so a record can share with a later record.
 *
 * mode=merge adds domains and servers, and sets weights and states. A domain in another pool, or another address in the
 * slot, is a problem. mode=replace makes the records the whole state. An import of an unchanged
 * export changes nothing.
 */
export function applyImport(
  draft: Draft,
  records: readonly DomainRecord[],
  mode: ImportMode,
  limits: ImportLimits,
  onProblem: OnProblem,
): void {
  const target =
    mode === 'merge' ? new MergeTarget(draft, limits) : new ReplaceTarget(draft, limits, records);
  /** Lines with a problem. They change nothing, also not the options of a domain that exists. */
  const failed = new Set<DomainRecord>();
  const guarded = (record: DomainRecord, work: () => void): void => {
    try {
      refuseLate('site.expires_at', expiryOf(record.site), limits.now);
      work();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      failed.add(record);
      onProblem(record.line, error.code, error.detail);
    }
  };
  for (const record of records)
    if (record.share_with === undefined) guarded(record, () => putOwner(target, record, limits));
  for (const record of records) {
    const { share_with } = record;
    if (share_with !== undefined) guarded(record, () => putSharer(target, record, share_with));
  }
  target.writeToDraft();
  for (const record of records) {
    const { domain, site } = record;
    if (failed.has(record) || draft.poolOf(domain) === undefined) continue;
    if (site !== undefined) draft.setSite(domain, Object.keys(site).length === 0 ? undefined : site);
    else if (mode === 'replace') draft.setSite(domain, undefined);
  }
}

/** @throws AppError pools_exhausted, pool_full, slot_taken, validation_failed */
function putOwner(target: ImportTarget, record: DomainRecord, limits: ImportLimits): void {
  const present = target.poolOf(record.domain);
  if (record.backend !== undefined) {
    putExternal(target, record, record.backend, present, limits);
    return;
  }
  if (present !== undefined && target.pool(present)?.external)
    throw new AppError(
      'domain_exists',
      `${record.domain} points at the operator's backend ${present}, which has no servers here; mode=merge moves no domain`,
    );
  const name = present ?? target.choosePool(record);
  const before = target.pool(name)?.servers ?? new Map<number, ServerSpec>();
  const servers = withServers(before, record, name, limits.maxSlots);
  const pool = target.openPool(name);
  pool.servers = servers;
  if (record.options !== undefined) {
    if (Object.keys(record.options).length > 0) pool.options = record.options;
    else delete pool.options;
  }
  if (present === undefined) target.addDomain(record.domain, name, pool);
}

/** @throws AppError domain_exists, validation_failed */
function putExternal(
  target: ImportTarget,
  record: DomainRecord,
  backend: string,
  present: string | undefined,
  limits: ImportLimits,
): void {
  if (present === backend && target.pool(backend)?.external) return;
  if (present !== undefined)
    throw new AppError(
      'domain_exists',
      `${record.domain} is already in ${present}; mode=merge moves no domain`,
    );
  // An export may name a backend that the state has already, and that HAProxy lacks for now.
  if (!target.hasExternal(backend)) {
    const problem = isPoolName(backend)
      ? `${backend} is a pool of the suite; use share_with with one of its domains`
      : limits.backendProblem?.(backend);
    if (problem !== undefined) throw new AppError('validation_failed', `backend: ${problem}`);
  }
  target.addDomain(record.domain, backend, target.openPool(backend, true));
}

/** @throws AppError domain_not_found, domain_exists */
function putSharer(target: ImportTarget, record: DomainRecord, other: string): void {
  const name = target.poolOf(other);
  if (name === undefined)
    throw new AppError(
      'domain_not_found',
      `share_with: the domain ${other} does not exist, and is not on an earlier line or a line without share_with`,
    );
  const present = target.poolOf(record.domain);
  if (present === name) return;
  if (present !== undefined)
    throw new AppError(
      'domain_exists',
      `${record.domain} is already in ${present}, and ${other} is in ${name}; mode=merge moves no domain`,
    );
  target.addDomain(record.domain, name, target.openPool(name));
}

/** The state after the import: the imported pools, and the other pools of the draft that the mode keeps. */
abstract class ImportTarget {
  protected readonly imported = new Map<string, ImportedPool>();
  readonly #poolOf = new Map<string, string>();
  #nextNumber = 1;

  constructor(
    protected readonly draft: Draft,
    protected readonly limits: ImportLimits,
  ) {}

  poolOf(domain: string): string | undefined {
    return this.#poolOf.get(domain) ?? this.keptPoolOf(domain);
  }

  pool(name: string): Pool | undefined {
    return this.imported.get(name) ?? this.keptPool(name);
  }

  /** Returns a pool that the import may change: a copy of the kept pool, or a new pool. */
  openPool(name: string, isExternal = false): ImportedPool {
    let pool = this.imported.get(name);
    if (!pool) {
      const kept = this.keptPool(name);
      pool = {
        servers: new Map(),
        ...(isExternal && { external: true }),
        ...kept,
        domains: [...(kept?.domains ?? [])],
      };
      this.imported.set(name, pool);
    }
    return pool;
  }

  /** @throws AppError validation_failed for a name that only version 0.1 accepted, and that is not in the state yet */
  addDomain(domain: string, name: string, pool: ImportedPool): void {
    if (canonicalDomain(domain) === undefined && this.draft.poolOf(domain) === undefined)
      throw new AppError('validation_failed', `domain must be ${DOMAIN_RULE}`);
    pool.domains.push(domain);
    this.#poolOf.set(domain, name);
  }

  /** Whether the state before the import has this external pool. */
  hasExternal(name: string): boolean {
    return this.draft.pool(name)?.external ?? false;
  }

  writeToDraft(): void {
    const changed = new Map<string, Pool | undefined>();
    for (const [name, pool] of this.imported) {
      const before = this.draft.pool(name);
      if (!before || !isSamePool(before, pool)) changed.set(name, { ...pool });
    }
    for (const name of this.removedPools()) changed.set(name, undefined);
    this.draft.replacePools(changed);
  }

  /** @throws AppError pools_exhausted */
  protected lowestFreePool(isFree: (name: string) => boolean): string {
    for (; this.#nextNumber <= this.limits.pools.count; this.#nextNumber += 1) {
      const name = poolName(this.#nextNumber);
      if (isFree(name) && this.limits.pools.reserved?.has(name) !== true) return name;
    }
    throw new AppError('pools_exhausted', poolsExhausted(this.limits.pools));
  }

  /** The pool for a domain that has none. @throws AppError pools_exhausted, validation_failed */
  abstract choosePool(record: DomainRecord): string;
  protected abstract keptPoolOf(domain: string): string | undefined;
  protected abstract keptPool(name: string): Pool | undefined;
  protected abstract removedPools(): string[];
}

/** mode=merge: keeps everything that the draft has. */
class MergeTarget extends ImportTarget {
  protected keptPoolOf(domain: string): string | undefined {
    return this.draft.poolOf(domain);
  }

  protected keptPool(name: string): Pool | undefined {
    return this.draft.pool(name);
  }

  protected removedPools(): string[] {
    return [];
  }

  choosePool({ pool }: DomainRecord): string {
    const isFree = (name: string): boolean => !this.pool(name);
    const isReserved = pool !== undefined && this.limits.pools.reserved?.has(pool) === true;
    return pool !== undefined && !isReserved && isWithin(pool, this.limits) && isFree(pool)
      ? pool
      : this.lowestFreePool(isFree);
  }
}

/** mode=replace: keeps only the pool names of the domains in the draft. */
class ReplaceTarget extends ImportTarget {
  /** Pool → the line that reserves it: the line names the pool, or the draft has the domain of the line in it. */
  readonly #reserved = new Map<string, number>();

  constructor(draft: Draft, limits: ImportLimits, records: readonly DomainRecord[]) {
    super(draft, limits);
    const owners = records.filter(
      ({ share_with, backend }) => share_with === undefined && backend === undefined,
    );
    for (const { pool, line } of owners)
      if (pool !== undefined && !this.#reserved.has(pool)) this.#reserved.set(pool, line);
    for (const { pool, domain, line } of owners) {
      const present = pool === undefined ? draft.poolOf(domain) : undefined;
      if (present !== undefined && !this.#reserved.has(present)) this.#reserved.set(present, line);
    }
  }

  protected keptPoolOf(): undefined {
    return undefined;
  }

  protected keptPool(): undefined {
    return undefined;
  }

  protected removedPools(): string[] {
    return [...this.draft.poolNames()].filter((name) => !this.imported.has(name));
  }

  choosePool({ domain, pool, line }: DomainRecord): string {
    if (pool !== undefined) {
      const other = this.#reserved.get(pool);
      if (other !== line)
        throw new AppError(
          'validation_failed',
          `${pool} is already the pool of line ${other}; use share_with to share it`,
        );
      const isOwn = this.draft.poolOf(domain) === pool && !this.draft.pool(pool)?.external;
      if (this.limits.pools.reserved?.has(pool) === true && !isOwn)
        throw new AppError(
          'validation_failed',
          `${pool} is left to the rules of haproxy.cfg (reserved_pools in data/adoption.json); leave pool out`,
        );
      if (!isWithin(pool, this.limits) && this.draft.poolOf(domain) !== pool)
        throw new AppError('pools_exhausted', poolBeyond(pool, this.limits.pools));
      return pool;
    }
    const present = this.draft.poolOf(domain);
    if (present !== undefined && this.#reserved.get(present) === line && !this.draft.pool(present)?.external)
      return present;
    return this.lowestFreePool((name) => !this.#reserved.has(name) && !this.imported.has(name));
  }
}

/**
 * The servers of a pool after the import of a record. Sets the weight and state of a server that has the address
 * already. Servers with a slot number come first, as in `addServers`. Returns a new map, so that a failed record
 * changes nothing.
 *
 * @throws AppError slot_taken, pool_full, validation_failed
 */
function withServers(
  before: PoolServers,
  { servers }: DomainRecord,
  pool: string,
  maxSlots: number,
): PoolServers {
  if (servers.length === 0) return before;
  const after = new Map(before);
  for (const server of servers) if (server.slot > 0) putServer(after, server.slot, server, pool, maxSlots);
  for (const server of servers)
    if (server.slot === 0) putServer(after, slotFor(after, server, pool, maxSlots), server, pool, maxSlots);
  return after;
}

function putServer(
  servers: Map<number, ServerSpec>,
  slot: number,
  given: RecordServer,
  pool: string,
  maxSlots: number,
): void {
  const present = servers.get(slot);
  if (present && !isSameAddress(present, given))
    throw new AppError(
      'slot_taken',
      `slot ${slot} of ${pool} holds ${serverAddress(present)}; leave slot out for the lowest free slot`,
    );
  // A slot in use stays usable after HAPROXY_MAX_SLOTS is lowered.
  if (!present && slot > maxSlots)
    throw new AppError('validation_failed', `slot must be 1 to ${maxSlots} (HAPROXY_MAX_SLOTS), not ${slot}`);
  servers.set(slot, {
    ip: given.ip,
    http_port: given.http_port,
    weight: given.weight ?? present?.weight ?? DEFAULT_WEIGHT,
    state: given.state ?? present?.state ?? 'ready',
  });
}

/** The slot that has the address, so that a repeated line adds no second server; otherwise the lowest free slot. */
function slotFor(
  servers: ReadonlyMap<number, ServerSpec>,
  given: RecordServer,
  pool: string,
  maxSlots: number,
): number {
  for (const [slot, server] of servers) if (isSameAddress(server, given)) return slot;
  for (let slot = 1; slot <= maxSlots; slot += 1) if (!servers.has(slot)) return slot;
  throw new AppError(
    'pool_full',
    `all ${maxSlots} slots of ${pool} are in use; remove a server, or raise HAPROXY_MAX_SLOTS and restart the suite`,
  );
}

function isWithin(pool: string, { pools }: ImportLimits): boolean {
  return (poolNumber(pool) ?? 0) <= pools.count;
}

function isSamePool(one: Pool, other: Pool): boolean {
  return (
    one.domains.length === other.domains.length &&
    one.domains.every((domain, index) => domain === other.domains[index]) &&
    one.external === other.external &&
    isDeepStrictEqual(one.options, other.options) &&
    one.servers.size === other.servers.size &&
    [...one.servers].every(([slot, server]) => isSameServer(server, other.servers.get(slot)))
  );
}

export function isSameServer(one: ServerSpec, other: ServerSpec | undefined): boolean {
  return (
    other !== undefined &&
    one.ip === other.ip &&
    one.http_port === other.http_port &&
    one.weight === other.weight &&
    one.state === other.state
  );
}
