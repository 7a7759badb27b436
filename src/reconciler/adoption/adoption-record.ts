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
  #leftPools: ReadonlySet<string> = new Set();

  constructor(private readonly path: string) {}

  /** Pools with servers but without a domain. The suite leaves them alone until it gives a domain to them. */
  get leftPools(): ReadonlySet<string> {
    return this.#leftPools;
  }

  /** Reads the record of an earlier start. If the record cannot be read, logs that and continues without it. */
  async load(): Promise<void> {
    try {
      const record: unknown = JSON.parse(await readFile(this.path, 'utf8'));
      const pools: unknown = (record as { left_pools?: unknown }).left_pools;
      const names = Array.isArray(pools) ? pools : [];
      this.#leftPools = new Set(
        names.filter((name): name is string => typeof name === 'string' && isPoolName(name)),
      );
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      this.#logger.warn(`${this.path} cannot be read: ${messageOf(error)}`);
    }
  }

  /** Keeps an adoption. Writes nothing if there was nothing to adopt. @throws the error of the file system */
  async save(source: string, adoption: Adoption): Promise<void> {
    this.#leftPools = adoption.leftPools;
    if (adoption.domains === 0 && adoption.left.length === 0) return;
    const record = {
      adopted_at: new Date().toISOString(),
      source,
      domains: adoption.domains,
      servers: adoption.servers,
      free_slots: adoption.freeSlots,
      left_pools: [...adoption.leftPools],
      not_taken_over: adoption.left,
    };
    await writeFileAtomic(this.path, `${JSON.stringify(record, null, 2)}\n`);
  }
}
