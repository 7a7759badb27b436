import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../../errors/app-error.js';
import { Draft } from '../draft.js';
import { type Pool, State, type StateDelta, type StateReader } from '../state.js';
import { outOfScope, type Scope } from './scope.js';
import { poolInScope } from './scoped-state.js';

/** A draft for a caller with this scope. */
export function draftInScope(base: StateReader, scope: Scope | undefined): Draft {
  return scope?.limitsDomains ? new ScopedDraft(base, scope) : new Draft(base);
}

/**
 * Changes of a caller that is limited to some domains. An edit that looks up another domain, or the pool of a domain of its
 * own that others share, is refused at once. So no error of an edit can tell anything about them.
 */
class ScopedDraft extends Draft {
  constructor(
    base: StateReader,
    private readonly scope: Scope,
  ) {
    super(base);
  }

  /** @throws AppError forbidden */
  override poolOf(domain: string): string | undefined {
    if (!this.scope.includes(domain)) throw outOfScope();
    const name = super.poolOf(domain);
    if (name !== undefined && !isOwn(name, this, this.scope)) throw outOfScope();
    return name;
  }

  /** A backend that the token may use can have domains of others. */
  override visiblePool(name: string): Pool | undefined {
    const pool = this.pool(name);
    return pool && poolInScope(pool, this.scope);
  }

  /** The pools that have a domain in scope. */
  override *poolNames(): Iterable<string> {
    for (const name of super.poolNames())
      if (this.pool(name)?.domains.some((domain) => this.scope.includes(domain))) yield name;
  }
}

/**
 * Refuses a change of a domain that is not in scope, of a pool that has such a domain before or after the change, and of the
 * options of a pool; and more domains than the token may have. A backend that the token may use may have domains of others.
 *
 * @throws AppError forbidden
 */
export function requireInScope(change: StateDelta, before: StateReader, scope: Scope): void {
  if (scope.limitsDomains) {
    const hosts = [...change.domains.keys(), ...(change.sites?.keys() ?? [])];
    if (!scope.includesAll(hosts)) throw outOfScope();
    for (const [name, pool] of change.pools) {
      if (!isOwn(name, before, scope)) throw outOfScope();
      if (pool && !isShareable(name, pool.external, scope) && !scope.includesAll(pool.domains))
        throw outOfScope();
      // Only an administrator sets the options of a pool.
      if (pool && !isDeepStrictEqual(pool.options, before.pool(name)?.options)) throw outOfScope();
    }
  }
  const { max_domains: most } = scope.fields;
  if (most === undefined) return;
  const added = addedIn(change, before, scope);
  if (added > 0 && countIn(before, scope) + added > most)
    throw new AppError(
      'forbidden',
      `This token may have at most ${most} domain(s) (max_domains). Nothing was changed. Remove one first with {haproxy_remove_domain}.`,
    );
}

/** Whether every domain of a pool is in scope; true for a pool that does not exist, and for a backend that the token may use. */
export function isOwn(name: string, state: StateReader, scope: Scope): boolean {
  const pool = state.pool(name);
  return !pool || isShareable(name, pool.external, scope) || scope.includesAll(pool.domains);
}

function isShareable(name: string, external: true | undefined, scope: Scope): boolean {
  return external === true && scope.allowsBackend(name);
}

function addedIn({ domains }: StateDelta, before: StateReader, scope: Scope): number {
  let added = 0;
  for (const [domain, pool] of domains)
    if (scope.includes(domain))
      added += Number(pool !== undefined) - Number(before.poolOf(domain) !== undefined);
  return added;
}

/** How many domains in scope there are. */
function countIn(state: StateReader, scope: Scope): number {
  if (state instanceof State) return scope.limitsDomains ? state.domainCountIn(scope) : state.domainCount;
  return state instanceof Draft ? countIn(state.base, scope) + addedIn(state, state.base, scope) : 0;
}
