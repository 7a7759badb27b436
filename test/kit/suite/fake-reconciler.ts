import type { AppError } from '../../../src/errors/app-error.js';
import type { Step } from '../../../src/model/routing.js';
import { type Pool, State, type StateDelta } from '../../../src/model/state.js';
import type { Section, SectionedText } from '../../../src/storage/files/section-file.js';

/** Replaces ReconcilerService in tests that need a refusal, which a real HAProxy cannot produce on request. */
export class FakeReconciler {
  /** The deltas that were applied, oldest first. */
  readonly applied: StateDelta[] = [];
  /** Runs after a delta was applied. */
  after: (delta: StateDelta) => Promise<void> = async () => undefined;
  /** The error for a delta that is refused. */
  refuse: (delta: StateDelta) => AppError | undefined = () => undefined;

  readonly keptEntries = new Map<string, string>();

  refuseUnknownOptions(): void {}

  async loadAdoptionRecord(): Promise<void> {}

  async adopt(): Promise<State> {
    return new State(0);
  }

  mayNeedReload(): boolean {
    return false;
  }

  async poolsThatNeedReload(): Promise<() => string[]> {
    return () => [];
  }

  async preview(): Promise<Step[]> {
    return [{ op: 'add_domains', keys: ['a.io'], pools: ['pool_1'] }];
  }

  async apply(delta: StateDelta): Promise<void> {
    const refusal = this.refuse(delta);
    if (refusal) throw refusal;
    this.applied.push(delta);
    await this.after(delta);
  }
}

/** Replaces PoolsFile: a `pools.cfg` with one line for each pool. */
export class FakePoolsFile {
  header = '# pools\n';

  async refresh(): Promise<void> {}

  renderPools(pools: readonly (readonly [string, Pool])[]): SectionedText {
    const sections = pools.map(([name, pool]): Section => [name, this.renderPool(name, pool)]);
    return { head: this.header, sections };
  }

  renderPool(name: string, pool: Pick<Pool, 'servers'> | undefined): string {
    return pool ? `# ${name} ${[...pool.servers.keys()].join()}\n` : '';
  }
}

/** Replaces ServerGuard in tests of other subjects: allows every server. */
export const ALLOW_ALL = { checkChange: (): void => undefined };
