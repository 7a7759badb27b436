import { readFile } from 'node:fs/promises';
import { Logger } from '@nestjs/common';
import { writeFileAtomic } from '../../lib/atomic-file.js';
import { messageOf } from '../../errors/app-error.js';
import type { HaproxyRuntimeService } from '../../haproxy/haproxy-runtime.service.js';
import { isPoolName } from '../../haproxy/runtime/runtime-routing.js';
import type { State } from '../../model/state.js';
import type { Settings } from '../../settings/settings.js';
import { adopt, type Adoption } from './adopt.js';
import { findRouting } from './adoption-sources.js';

/** What a log line names; the record has all. */
const SHOWN = 20;

/**
 * The first start beside a HAProxy that has been in use. What was done then is kept in `data/adoption.json`, for
 * people to read, and because pools in somebody else's use stay so after a restart of the suite.
 */
export class FirstStart {
  readonly #logger = new Logger('Adoption');
  #leftPools: ReadonlySet<string> = new Set();

  constructor(
    private readonly runtime: HaproxyRuntimeService,
    private readonly settings: Settings,
  ) {}

  /** Pools with servers that no domain pointed at: left alone until a domain is given to them. */
  get leftPools(): ReadonlySet<string> {
    return this.#leftPools;
  }

  /** @throws AppError haproxy_unavailable or haproxy_rejected while it cannot be known what HAProxy has */
  async take(mapText: string): Promise<State> {
    const { source, routing } = await findRouting(this.runtime, this.settings, mapText);
    const adoption = adopt(routing, mapText);
    this.#leftPools = adoption.leftPools;
    if (adoption.domains === 0 && adoption.left.length === 0) return adoption.state;
    await this.#record(source, adoption);
    const { state, domains, servers, freeSlots, left } = adoption;
    this.#logger.warn(
      `There is no ${this.settings.files.servers}; taken over from ${source}: ${domains} domains in ` +
        `${state.pools.size} pools with ${servers} servers (and ${freeSlots} free slots). ` +
        `Nothing was changed in HAProxy. ${this.#leftOut(left)}`,
    );
    return state;
  }

  /** Reads what an earlier start left alone. A record that cannot be read is told about; it is not worth a stop. */
  async remember(): Promise<void> {
    try {
      const record: unknown = JSON.parse(await readFile(this.settings.files.adoption, 'utf8'));
      const pools: unknown = (record as { left_pools?: unknown }).left_pools;
      const names = Array.isArray(pools) ? pools : [];
      this.#leftPools = new Set(
        names.filter((name): name is string => typeof name === 'string' && isPoolName(name)),
      );
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      this.#logger.warn(`${this.settings.files.adoption} cannot be read: ${messageOf(error)}`);
    }
  }

  async #record(source: string, adoption: Adoption): Promise<void> {
    const record = {
      adopted_at: new Date().toISOString(),
      source,
      domains: adoption.domains,
      servers: adoption.servers,
      free_slots: adoption.freeSlots,
      left_pools: [...adoption.leftPools],
      not_taken_over: adoption.left,
    };
    await writeFileAtomic(this.settings.files.adoption, `${JSON.stringify(record, null, 2)}\n`);
  }

  #leftOut(left: readonly string[]): string {
    if (left.length === 0) return 'Nothing was left out.';
    const more = left.length > SHOWN ? `; and ${left.length - SHOWN} more` : '';
    return (
      `Not taken over as it is: ${left.slice(0, SHOWN).join('; ')}${more}. ${this.settings.files.adoption} has ` +
      'all of it, and "Adopting an existing HAProxy" in docs/operations.md says what to do about it.'
    );
  }
}
