import { readFile } from 'node:fs/promises';
import { Logger } from '@nestjs/common';
import { messageOf } from '../../errors/app-error.js';
import { isPoolName } from '../../model/pool-name.js';
import { writeFileAtomic } from '../../lib/atomic-file.js';
import type { Adoption } from './adopt.js';

/**
 * `data/adoption.json`: what the first start adopted from a HAProxy in use. Operators read it. After a restart
 * the suite reads from it which pools it must leave alone.
 */
export class AdoptionRecord {
  readonly #logger = new Logger('Adoption');
  #unmanagedPools: ReadonlySet<string> = new Set();
  #reservedPools: ReadonlySet<string> = new Set();
  #keptEntries: ReadonlyMap<string, string> = new Map();

  constructor(private readonly path: string) {}

  /** Pools with servers but without a domain. The suite leaves them alone until it gives a domain to them. */
  get unmanagedPools(): ReadonlySet<string> {
    return this.#unmanagedPools;
  }

  /** The unmanaged pools that no new domain gets, because the operator's rules may route to them. */
  get reservedPools(): ReadonlySet<string> {
    return this.#reservedPools;
  }

  /** Entries of the adopted map that `domains.map` keeps: key → value. */
  get keptEntries(): ReadonlyMap<string, string> {
    return this.#keptEntries;
  }

  /** Reads the record of an earlier start. If the record cannot be read, logs that and continues without it. */
  async load(): Promise<void> {
    try {
      const record: unknown = JSON.parse(await readFile(this.path, 'utf8'));
      const { left_pools, reserved_pools, kept_entries } = record as Record<string, unknown>;
      this.#unmanagedPools = poolNames(left_pools);
      this.#reservedPools = poolNames(reserved_pools);
      const entries = Array.isArray(kept_entries) ? kept_entries : [];
      this.#keptEntries = new Map(entries.filter(isEntry));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      this.#logger.warn(`${this.path} cannot be read: ${messageOf(error)}`);
    }
  }

  /** Keeps an adoption. Writes nothing if there was nothing to adopt. @throws the error of the file system */
  async save(source: string, adoption: Adoption): Promise<void> {
    this.#unmanagedPools = adoption.unmanagedPools;
    this.#reservedPools = adoption.reservedPools;
    this.#keptEntries = adoption.kept;
    if (adoption.domains === 0 && adoption.left.length === 0) return;
    const record = {
      adopted_at: new Date().toISOString(),
      source,
      domains: adoption.domains,
      servers: adoption.servers,
      free_slots: adoption.freeSlots,
      external_domains: adoption.externalDomains,
      left_pools: [...adoption.unmanagedPools],
      reserved_pools: [...adoption.reservedPools],
      kept_entries: [...adoption.kept],
      not_taken_over: adoption.left,
    };
    await writeFileAtomic(this.path, `${JSON.stringify(record, null, 2)}\n`);
  }
}

function poolNames(value: unknown): Set<string> {
  const names: unknown[] = Array.isArray(value) ? value : [];
  return new Set(names.filter((name): name is string => typeof name === 'string' && isPoolName(name)));
}

/** Whether the value can be a line of a map. */
function isEntry(value: unknown): value is [key: string, value: string] {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    typeof value[0] === 'string' &&
    typeof value[1] === 'string' &&
    /^[^#\s]\S*$/.test(value[0]) &&
    !/[\r\n]/.test(value[1])
  );
}
