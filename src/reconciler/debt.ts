import type { State, StateDelta } from '../model/state.js';

/** What changes touched that failed half-way: HAProxy may have a part of them still. */
export class Debt {
  readonly #pools = new Set<string>();
  readonly #domains = new Set<string>();

  get isPaid(): boolean {
    return this.#pools.size + this.#domains.size === 0;
  }

  owe(change: StateDelta): void {
    for (const pool of change.pools.keys()) this.#pools.add(pool);
    for (const domain of change.domains.keys()) this.#domains.add(domain);
  }

  pay(): void {
    this.#pools.clear();
    this.#domains.clear();
  }

  /** The change that makes all of it as the state has it. */
  asChange(state: State): StateDelta {
    return {
      pools: new Map([...this.#pools].map((name) => [name, state.pool(name)])),
      domains: new Map([...this.#domains].map((domain) => [domain, state.poolOf(domain)])),
    };
  }
}
