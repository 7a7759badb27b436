import type { AppError } from '../../src/errors/app-error.js';
import type { PoolServers, Step } from '../../src/model/routing.js';
import type { Section, SectionedText } from '../../src/storage/files/section-file.js';
import { type Pool, State, type StateDelta } from '../../src/model/state.js';

/** Stands in for HAProxy where it must refuse on command, which the real one cannot be made to do. */
export class FakeTarget {
  readonly applied: StateDelta[] = [];
  header = '# pools\n';
  after: (change: StateDelta) => Promise<void> = async () => undefined;
  refuse: (change: StateDelta) => AppError | undefined = () => undefined;

  renderPools(pools: readonly (readonly [string, Pool])[]): SectionedText {
    const sections = pools.map(([name, { servers }]): Section => [name, this.renderPool(name, servers)]);
    return { head: this.header, sections };
  }

  renderPool(name: string, servers: PoolServers | undefined): string {
    return servers ? `# ${name} ${[...servers.keys()].join()}\n` : '';
  }

  async refresh(): Promise<void> {}

  async loadAdoptionRecord(): Promise<void> {}

  async adopt(): Promise<State> {
    return new State(0);
  }

  async preview(): Promise<Step[]> {
    return [{ op: 'add_domains', keys: ['a.io'], pools: ['pool_1'] }];
  }

  async apply(change: StateDelta): Promise<void> {
    const refusal = this.refuse(change);
    if (refusal) throw refusal;
    this.applied.push(change);
    await this.after(change);
  }
}
