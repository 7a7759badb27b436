import { AppError, type ErrorCode } from '../errors/app-error.js';
import { poolName, poolNumber } from '../model/pool-name.js';
import type { ServerSpec } from '../model/server.js';
import type { Draft, Pool } from '../model/state.js';
import { poolBeyond, poolsExhausted, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import type { DomainRecord } from './import-record.js';
import { putServers } from './import-servers.js';

export interface ImportLimits {
  pools: PoolLimit;
  maxSlots: number;
}

/** Told of a line that cannot be followed. Throws where one wrong line stops everything. */
export type OnProblem = (line: number, code: ErrorCode, message: string) => void;

/** A pool in the making: only this import has it, so that its lists can grow in place. */
interface PoolInMaking {
  readonly domains: string[];
  servers: ReadonlyMap<number, ServerSpec>;
  /** The line that asked for it in mode=replace, where no two may. */
  readonly line: number;
}

/**
 * Puts the lines into a draft. Pure but for the draft. First the domains with a pool of their own, then those that
 * share one, so that a line may name a later one.
 *
 * In mode=merge what is there stays: a domain is added, or gets servers, weights and states; one in another pool, and
 * a slot with another address, is an error. In mode=replace the lines are all there is, and what is as it was keeps
 * its pool, so that an export that is imported again changes nothing.
 */
export function applyImport(
  draft: Draft,
  records: readonly DomainRecord[],
  mode: 'merge' | 'replace',
  limits: ImportLimits,
  onProblem: OnProblem,
): void {
  const target = mode === 'merge' ? new Merging(draft, limits) : new Replacing(draft, limits, records);
  const guarded = (record: DomainRecord, work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      onProblem(record.line, error.code, error.detail);
    }
  };
  for (const record of records)
    if (record.share_with === undefined) guarded(record, () => own(target, record, limits));
  for (const record of records) {
    const { share_with } = record;
    if (share_with !== undefined) guarded(record, () => share(target, record, share_with));
  }
  target.finish();
}

/** @throws AppError pools_exhausted, pool_full, slot_taken, validation_failed */
function own(target: PoolsInMaking, record: DomainRecord, limits: ImportLimits): void {
  const present = target.poolOf(record.domain);
  const name = present ?? target.choose(record);
  const before = target.pool(name)?.servers ?? new Map<number, ServerSpec>();
  const servers = putServers(record, before, name, limits.maxSlots);
  const pool = target.open(name, record.line);
  pool.servers = servers;
  if (present === undefined) target.add(record.domain, name, pool);
}

/** @throws AppError domain_not_found, domain_exists */
function share(target: PoolsInMaking, record: DomainRecord, other: string): void {
  const name = target.poolOf(other);
  if (name === undefined)
    throw new AppError(
      'domain_not_found',
      `share_with: there is no domain ${other}, nor is it on an earlier line or one without share_with`,
    );
  const present = target.poolOf(record.domain);
  if (present === name) return;
  if (present !== undefined)
    throw new AppError(
      'domain_exists',
      `${record.domain} is in ${present} already, and ${other} in ${name}; mode=merge moves no domain`,
    );
  target.add(record.domain, name, target.open(name, record.line));
}

/** The pools as the import leaves them; those it does not touch are as in the draft. */
abstract class PoolsInMaking {
  protected readonly made = new Map<string, PoolInMaking>();
  readonly #poolOf = new Map<string, string>();
  #lowest = 1;

  constructor(
    protected readonly draft: Draft,
    protected readonly limits: ImportLimits,
  ) {}

  poolOf(domain: string): string | undefined {
    return this.#poolOf.get(domain) ?? this.before(domain);
  }

  pool(name: string): Pool | undefined {
    return this.made.get(name) ?? this.poolBefore(name);
  }

  /** The pool to be changed. */
  open(name: string, line: number): PoolInMaking {
    let pool = this.made.get(name);
    if (!pool) {
      const before = this.poolBefore(name);
      pool = { domains: [...(before?.domains ?? [])], servers: before?.servers ?? new Map(), line };
      this.made.set(name, pool);
    }
    return pool;
  }

  add(domain: string, name: string, pool: PoolInMaking): void {
    pool.domains.push(domain);
    this.#poolOf.set(domain, name);
  }

  /** @throws AppError pools_exhausted */
  protected lowestFree(isFree: (name: string) => boolean): string {
    for (; this.#lowest <= this.limits.pools.count; this.#lowest += 1) {
      const name = poolName(this.#lowest);
      if (isFree(name)) return name;
    }
    throw new AppError('pools_exhausted', poolsExhausted(this.limits.pools));
  }

  /** Where a domain is that the import has not placed. */
  protected abstract before(domain: string): string | undefined;
  protected abstract poolBefore(name: string): Pool | undefined;
  /** The pool for a domain that has none. */
  abstract choose(record: DomainRecord): string;

  finish(): void {
    const changed = new Map<string, Pool | undefined>();
    for (const [name, { domains, servers }] of this.made) {
      const before = this.draft.pool(name);
      if (!before || !isSame(before, { domains, servers })) changed.set(name, { domains, servers });
    }
    for (const name of this.given()) changed.set(name, undefined);
    this.draft.replacePools(changed);
  }

  /** The pools that nobody has any more. */
  protected given(): string[] {
    return [];
  }
}

class Merging extends PoolsInMaking {
  protected before(domain: string): string | undefined {
    return this.draft.poolOf(domain);
  }

  protected poolBefore(name: string): Pool | undefined {
    return this.draft.pool(name);
  }

  choose({ pool }: DomainRecord): string {
    const isFree = (name: string): boolean => !this.pool(name);
    return pool !== undefined && isWithin(pool, this.limits) && isFree(pool) ? pool : this.lowestFree(isFree);
  }
}

class Replacing extends PoolsInMaking {
  /** Pools that lines name, or whose domain has one now: not to be given to others. Pool → line. */
  readonly #wanted = new Map<string, number>();

  constructor(draft: Draft, limits: ImportLimits, records: readonly DomainRecord[]) {
    super(draft, limits);
    const owners = records.filter(({ share_with }) => share_with === undefined);
    for (const { pool, line } of owners)
      if (pool !== undefined && !this.#wanted.has(pool)) this.#wanted.set(pool, line);
    for (const { pool, domain, line } of owners) {
      const now = pool === undefined ? draft.poolOf(domain) : undefined;
      if (now !== undefined && !this.#wanted.has(now)) this.#wanted.set(now, line);
    }
  }

  protected before(): undefined {
    return undefined;
  }

  protected poolBefore(): undefined {
    return undefined;
  }

  choose({ domain, pool, line }: DomainRecord): string {
    if (pool !== undefined) {
      const other = this.#wanted.get(pool);
      if (other !== line)
        throw new AppError(
          'validation_failed',
          `${pool} is the pool of line ${other} already; use share_with`,
        );
      if (!isWithin(pool, this.limits) && this.draft.poolOf(domain) !== pool)
        throw new AppError('pools_exhausted', poolBeyond(pool, this.limits.pools));
      return pool;
    }
    const now = this.draft.poolOf(domain);
    if (now !== undefined && this.#wanted.get(now) === line) return now;
    return this.lowestFree((name) => !this.#wanted.has(name) && !this.made.has(name));
  }

  protected override given(): string[] {
    return [...this.draft.poolNames()].filter((name) => !this.made.has(name));
  }
}

function isWithin(pool: string, { pools }: ImportLimits): boolean {
  return (poolNumber(pool) ?? 0) <= pools.count;
}

function isSame(one: Pool, other: Pool): boolean {
  return (
    one.domains.length === other.domains.length &&
    one.domains.every((domain, index) => domain === other.domains[index]) &&
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
