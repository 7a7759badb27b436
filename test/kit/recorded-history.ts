import { AppError } from '../../src/errors/app-error.js';
import { changeOf } from '../../src/model/change/change.js';
import { Draft } from '../../src/model/draft.js';
import { State } from '../../src/model/state.js';
import { lowestFreePool, type PoolLimit } from '../../src/reconciler/pools/pool-limits.js';
import type { Revision } from '../../src/history/revision.js';
import { rollBack, type Situation, undo } from '../../src/history/undo-rules.js';

export const LIMIT: PoolLimit = { count: 100, dynamic: false };
export const situation = (present: number, given: Partial<Situation> = {}): Situation => ({
  present,
  limit: LIMIT,
  role: 'admin',
  now: 0,
  backendProblem: () => undefined,
  ...given,
});
export const server = (host: number, weight = 1) => ({
  ip: `10.0.0.${host}`,
  http_port: 80,
  weight,
  state: 'ready' as const,
});

/** A state with its history, as PersistenceService keeps both. */
export class Recorded {
  readonly state = new State(0);
  readonly revisions: Revision[] = [];
  readonly snapshots = [snapshot(this.state)];

  /** The revision, or undefined if the edit changed nothing. */
  commit(edit: (draft: Draft) => void, operation = 'edit'): number | undefined {
    const draft = new Draft(this.state);
    edit(draft);
    if (draft.isEmpty) return undefined;
    const revision = this.state.revision + 1;
    this.revisions.push({
      revision,
      operation,
      change: changeOf(draft, this.state),
      ...draft.takesBack,
    });
    this.state.apply(draft, revision);
    this.snapshots.push(snapshot(this.state));
    return revision;
  }

  undo(revision: number, given: Partial<Situation> = {}): number | undefined {
    const [entry, ...later] = this.revisions.slice(revision - 1);
    if (!entry) throw new Error(`no revision ${revision}`);
    return this.commit(
      (draft) => void undo(draft, entry, later, situation(this.state.revision, given)),
      'undo',
    );
  }

  rollBack(revision: number, given: Partial<Situation> = {}): number | undefined {
    return this.commit(
      (draft) =>
        rollBack(draft, revision, this.revisions.slice(revision), situation(this.state.revision, given)),
      'rollback',
    );
  }
}

/** The state as plain data. The order of the domains of a pool does not count. */
export function snapshot(state: State): unknown {
  return {
    pools: Object.fromEntries(
      [...state.pools].map(([name, { domains, servers, ...rest }]) => [
        name,
        { ...rest, domains: domains.toSorted(), servers: Object.fromEntries(servers) },
      ]),
    ),
    sites: Object.fromEntries(state.sites),
  };
}

/** Each domain with its servers and options, without the names of the pools. */
export function served(state: State): unknown {
  return Object.fromEntries(
    state.sortedDomains().map((domain) => {
      const pool = state.pool(state.poolOf(domain) ?? '');
      return [domain, { servers: Object.fromEntries(pool?.servers ?? []), site: state.site(domain) }];
    }),
  );
}

export const add = (domain: string, host?: number) => (draft: Draft) => {
  const pool = lowestFreePool(draft, LIMIT);
  draft.addDomain(domain, pool);
  if (host !== undefined) draft.putServer(pool, 1, server(host));
};
export const share = (domain: string, other: string) => (draft: Draft) =>
  draft.addDomain(domain, draft.poolOf(other) ?? '');
export const remove = (domain: string) => (draft: Draft) => draft.removeDomain(domain);
export const put = (domain: string, slot: number, host: number, weight?: number) => (draft: Draft) =>
  draft.putServer(draft.poolOf(domain) ?? '', slot, server(host, weight));

export function conflict(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof AppError && error.code === 'undo_conflict') return error.detail;
    throw error;
  }
  throw new Error('there is no conflict');
}
