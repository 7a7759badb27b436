import { areOnlyOfServers, NO_OPTIONS, optionsTag } from '../haproxy/config/pool-options.js';
import type { OperatorConfig } from '../haproxy/config/operator-config.js';
import { isSameProcess, type ProcessIdentity } from '../haproxy/runtime/process-identity.js';
import { serverAddress } from '../model/server.js';
import type { Pool, State, StateDelta, StateReader } from '../model/state.js';
import type { RoutingView } from './routing-view.js';

/**
 * Which options of pools a HAProxy process has, by tag (`optionsTag`). HAProxy tells what it has loaded from pools.cfg. A
 * pool that it has created at run time is not in that answer, so this class remembers such pools.
 */
export class LoadedOptions {
  #added: { process: ProcessIdentity; tags: Map<string, string> } | undefined;

  constructor(private readonly operatorConfig: Pick<OperatorConfig, 'pools'>) {}

  /** What HAProxy answered, with the pools that got their options at run time. */
  complete(answered: ReadonlyMap<string, string>, process: ProcessIdentity | undefined): Map<string, string> {
    const isSame = process && this.#added && isSameProcess(this.#added.process, process);
    if (!isSame) this.#added = undefined;
    return new Map([...answered, ...(this.#added?.tags ?? [])]);
  }

  /** The pools of a change whose options only a reload brings into HAProxy. */
  poolsToReload(delta: StateDelta, before: StateReader, view: RoutingView): string[] {
    return [...delta.pools].flatMap(([name, pool]) =>
      pool && concernsOptions(pool, before.pool(name)) && this.#needsReload(name, pool, view) ? [name] : [],
    );
  }

  /** Call it after a change without `poolsToReload` was applied: HAProxy has the options of its pools. */
  applied(delta: StateDelta, before: StateReader, view: RoutingView): void {
    for (const [name, pool] of delta.pools) {
      if (pool && !concernsOptions(pool, before.pool(name))) continue;
      const tag = pool ? this.#wanted(name, pool) : NO_OPTIONS;
      if (tag === NO_OPTIONS || tag === view.options.get(name) || !view.process) continue;
      view.options.set(name, tag);
      this.#added ??= { process: view.process, tags: new Map() };
      this.#added.tags.set(name, tag);
    }
  }

  /** The pools in use that HAProxy runs with other options than saved. */
  stalePools(state: State, loaded: ReadonlyMap<string, string>): string[] {
    const stale: string[] = [];
    for (const [name, pool] of state.pools)
      if ((pool.options || loaded.has(name)) && this.#wanted(name, pool) !== (loaded.get(name) ?? NO_OPTIONS))
        stale.push(name);
    return stale;
  }

  #needsReload(name: string, pool: Pool, view: RoutingView): boolean {
    const loaded = view.options.get(name) ?? NO_OPTIONS;
    if (this.#wanted(name, pool) === loaded) return false;
    // `add server` carries all that is needed.
    const isNew = loaded === NO_OPTIONS && areOnlyOfServers(pool.options) && !view.hasServers(name);
    return !isNew;
  }

  /** A pool of the operator, and a pool that haproxy.cfg declares, have no options of the suite. */
  #wanted(name: string, { external, options }: Pool): string {
    return external || this.operatorConfig.pools.has(name) ? NO_OPTIONS : optionsTag(options);
  }
}

/** Whether a change of a pool sets other options, or adds a server, which gets the options of its pool. */
function concernsOptions(pool: Pool, before: Pool | undefined): boolean {
  if (!before || optionsTag(pool.options) !== optionsTag(before.options)) return true;
  return [...pool.servers].some(([slot, server]) => {
    const former = before.servers.get(slot);
    return !former || serverAddress(former) !== serverAddress(server);
  });
}
