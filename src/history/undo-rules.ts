import { isDeepStrictEqual } from 'node:util';
import type { Role } from '../contract/role.js';
import { AppError } from '../errors/app-error.js';
import {
  applyChange,
  type Change,
  composed,
  inverseOf,
  isSameOrAbsent,
  poolsOfChange,
  propertiesOf,
} from '../model/change/change.js';
import { expiryOf } from '../model/options/expiry.js';
import type { SiteOptions } from '../model/options/options.js';
import { isPoolName, poolNumber } from '../model/names/pool-name.js';
import { serverAddress } from '../model/server.js';
import type { Draft } from '../model/draft.js';
import type { StateReader } from '../model/state.js';
import {
  freePools,
  MORE_POOLS,
  poolsExhaustedError,
  type PoolLimit,
} from '../reconciler/pools/pool-limits.js';
import { identitiesFrom, PoolIdentities } from './pool-identity.js';
import { type Revision, TakenBack } from './revision.js';

/** What an undo or a rollback depends on, beside the history. */
export interface Situation {
  /** The revision of the state that the draft changes. */
  present: number;
  limit: PoolLimit;
  /** What the caller may do. */
  role: Role;
  /** The latest time that it can be, in milliseconds since the epoch. */
  now: number;
  /** Why no domain can point at a backend of the operator; undefined if it can. */
  backendProblem: (backend: string) => string | undefined;
}

/** Something that is not as the revision left it. `key` finds the later revisions that touched it. */
interface Conflict {
  key: string;
  text: string;
}

/** The most conflicts and revisions that an error names. */
const SHOWN = 5;

/**
 * Takes back one revision. `later` are all revisions after it up to the state of the draft, oldest first. Pools that the
 * revision freed and that other domains have now are replaced by free ones.
 *
 * Returns the domains that come back without their expiry, because its time has passed.
 *
 * @throws AppError undo_conflict, if something is not as the revision left it; pools_exhausted; forbidden
 */
export function undo(
  draft: Draft,
  entry: Revision,
  later: readonly Revision[],
  situation: Situation,
): readonly string[] {
  const { revision, admin_only } = entry;
  const change = withoutSharedBackends(draft, entry.change);
  const cannot = `Revision ${revision} cannot be undone`;
  if (isEmpty(change)) throw nothingToUndo(entry);
  if (admin_only && situation.role !== 'admin')
    throw new AppError(
      'forbidden',
      `Only an administrator may undo revision ${named(entry)}, because only an administrator may make such a change. ` +
        'Use the admin token (MCP_TOKEN) for this call.',
    );
  requireKnown(revision, later, situation.present, cannot);
  // Values can be as the revision left them also because another caller made the same change since.
  const by = takenBackBy(entry, later);
  if (by !== undefined)
    throw new AppError(
      'undo_conflict',
      `${cannot}. Revision ${by} has taken it back already. Nothing was changed.`,
      { existing: { revisions: [by] } },
    );
  const identities = identitiesFrom(entry, later);
  const conflicts = [
    ...conflictsOf(draft, change),
    ...otherPools(draft, { ...entry, change }, identities, situation.present),
  ];
  if (conflicts.length > 0) throw undoConflict(entry, conflicts, later);
  const inverse = inverseOf(change);
  const ended = inverse.sites.filter(([, , after]) => isPast(after, situation.now)).map(([host]) => host);
  const present = ended.find((host) => draft.poolOf(host) !== undefined);
  if (present !== undefined)
    throw new AppError(
      'undo_conflict',
      `${cannot}: the time at which ${present} expired before the revision has passed, so it would be removed. ${SET_VALUES}`,
    );
  const back = withFreePools(draft, withoutExpiry(inverse, new Set(ended)), situation.limit);
  requireBackends(back, situation, cannot);
  const replaced = new Set(change.replaced);
  for (const name of poolsOfChange(change)) draft.samePools.set(name, !replaced.has(name));
  applyChange(draft, back);
  draft.takesBack = { undoes: revision, ...(admin_only && { admin_only }) };
  return ended;
}

/**
 * Makes the state be as of `revision`. `later` are all revisions after it up to the state of the draft, oldest first.
 *
 * @throws AppError undo_conflict if revisions in between are not known, or if the state is not as the last one left it;
 *   pools_exhausted
 */
export function rollBack(
  draft: Draft,
  revision: number,
  later: readonly Revision[],
  situation: Situation,
): void {
  const { present, limit } = situation;
  const cannot = `The state cannot be rolled back to revision ${revision}`;
  requireKnown(revision, later, present, cannot);
  const change = composed(later.map((entry) => entry.change));
  const conflicts = [...conflictsOf(draft, change), ...takenPools(draft, change)];
  if (conflicts.length > 0)
    throw new AppError(
      'undo_conflict',
      `${cannot}, because the state is not as the history says: ${shown(conflicts.map(({ text }) => text))}. ${SET_VALUES}`,
    );
  const back = inverseOf(change);
  for (const [name, before, after] of back.pools) {
    if (before !== null || after === null || !isPoolName(name)) continue;
    if (!limit.dynamic && (poolNumber(name) ?? 0) > limit.count)
      throw new AppError(
        'pools_exhausted',
        `${cannot}: it needs ${name}, and the limit is ${limit.count} pools. To have more, ${MORE_POOLS}. Nothing was changed.`,
      );
    if (limit.reserved?.has(name))
      throw new AppError(
        'undo_conflict',
        `${cannot}: it needs ${name}, and rules of the operator may route to that pool now. ${SET_VALUES}`,
      );
  }
  requireBackends(back, situation, cannot);
  const names = poolsOfChange(change);
  const identities = new PoolIdentities(names, revision, later);
  for (const name of names)
    draft.samePools.set(name, identities.at(name, revision) === identities.at(name, present));
  applyChange(draft, back);
  draft.takesBack = { rolls_back_to: revision, admin_only: true };
}

export function isEmpty({ pools, domains, servers, sites }: Change): boolean {
  return pools.length + domains.length + servers.length + sites.length === 0;
}

const SET_VALUES = 'Set the values with a change of your own. Nothing was changed.';

/**
 * The revisions after `revision` must be known without a gap, up to the present state.
 *
 * @throws AppError undo_conflict
 */
function requireKnown(revision: number, later: readonly Revision[], present: number, cannot: string): void {
  let last = revision;
  for (const entry of later) {
    const isMarker = entry.unknown_since !== undefined && isEmpty(entry.change);
    if (entry.revision !== last + 1 || isMarker) {
      const from = Math.min(last, entry.unknown_since ?? last) + 1;
      throw unknownRevisions(from, isMarker ? entry.revision : entry.revision - 1, cannot);
    }
    last = entry.revision;
  }
  if (last !== present) throw unknownRevisions(last + 1, present, cannot);
}

/** The later revision that has taken this one back, if it counts. */
function takenBackBy(entry: Revision, later: readonly Revision[]): number | undefined {
  const takenBack = new TakenBack();
  for (const one of later.toReversed()) takenBack.by(one);
  return takenBack.by(entry);
}

function unknownRevisions(from: number, to: number, cannot: string): AppError {
  const which = from === to ? `revision ${to}` : `the revisions from ${from} to ${to}`;
  return new AppError(
    'undo_conflict',
    `${cannot}: the history does not have ${which}, so it is not known what changed since. ${SET_VALUES}`,
  );
}

function nothingToUndo({ revision, unknown_since }: Revision): AppError {
  return new AppError(
    'undo_conflict',
    unknown_since === undefined
      ? `Revision ${revision} changed nothing that can be undone. {haproxy_history} shows what each revision changed.`
      : `What revision ${revision} changed is not known: its line of the history was lost, or another program changed servers.json ` +
          `while the suite did not run. ${SET_VALUES}`,
  );
}

/** What is not as the change left it, value by value. */
function conflictsOf(state: StateReader, change: Change): Conflict[] {
  const conflicts: Conflict[] = [];
  const add = (key: string, text: string) => void conflicts.push({ key, text });
  const freed = new Set(change.pools.filter(([, , after]) => after === null).map(([name]) => name));
  for (const [domain, , after] of change.domains) {
    const present = state.poolOf(domain) ?? null;
    if (present !== after)
      add(`domain ${domain}`, `${domain} is ${present === null ? 'gone' : `in ${present}`}`);
  }
  for (const [pool, slot, , after] of change.servers) {
    const present = state.pool(pool)?.servers.get(slot) ?? null;
    if (freed.has(pool) || isSameOrAbsent(present, after)) continue;
    const what =
      present === null
        ? 'is empty'
        : `holds ${serverAddress(present)}, weight ${present.weight}, ${present.state}`;
    add(`server ${pool}/${slot}`, `${pool} slot ${slot} ${what}`);
  }
  for (const [name, , after] of change.pools) {
    if (after !== null && !isDeepStrictEqual(propertiesOf(state.pool(name)), after))
      add(`pool ${name}`, state.pool(name) ? `the options of ${name} are different` : `${name} is gone`);
  }
  for (const [host, , after] of change.sites)
    if (!isDeepStrictEqual(state.site(host) ?? null, after))
      add(`site ${host}`, `the options of ${host} are different`);
  conflicts.push(...lostByRemoval(state, change));
  return conflicts;
}

/**
 * What the undo would remove or move although the revision did not add it: with a pool that becomes free or gets its former
 * domains and servers again, or with a domain.
 */
function lostByRemoval(state: StateReader, change: Change): Conflict[] {
  const conflicts: Conflict[] = [];
  const own = new Set(change.servers.map(([pool, slot]) => `${pool}/${slot}`));
  const leaving = new Map<string, Set<string>>();
  for (const [domain, , after] of change.domains)
    if (after !== null) leaving.set(after, (leaving.get(after) ?? new Set()).add(domain));
  const coming = new Set(change.domains.map(([, before]) => before));
  const whole = new Set([
    ...change.pools.filter(([, before, after]) => before === null && after !== null).map(([name]) => name),
    ...(change.replaced ?? []),
  ]);
  const sites = new Set(change.sites.map(([host]) => host));
  for (const [domain, before] of change.domains)
    if (before === null && !sites.has(domain) && state.site(domain))
      conflicts.push({ key: `site ${domain}`, text: `${domain} has options now` });
  for (const name of new Set([...leaving.keys(), ...whole])) {
    const domains = leaving.get(name) ?? new Set();
    const pool = state.pool(name);
    if (!pool) continue;
    const stays = pool.domains.find((domain) => !domains.has(domain));
    if (whole.has(name)) {
      if (stays !== undefined) conflicts.push({ key: `domain ${stays}`, text: `${stays} is in ${name} too` });
      for (const slot of pool.servers.keys())
        if (!own.has(`${name}/${slot}`))
          conflicts.push({
            key: `server ${name}/${slot}`,
            text: `${name} has another server in slot ${slot}`,
          });
    } else if (stays === undefined && !coming.has(name) && !pool.external)
      conflicts.push({
        key: `pool ${name}`,
        text: `${name} has no other domain any more, and would lose its servers`,
      });
  }
  return conflicts;
}

/** Pools of the revision whose name stands for another pool now, or for none. Not those that the revision freed. */
function otherPools(
  state: StateReader,
  { revision, change }: Revision,
  identities: PoolIdentities,
  present: number,
): Conflict[] {
  const conflicts: Conflict[] = [];
  for (const name of poolsOfChange(change)) {
    const left = identities.at(name, revision);
    if (left === undefined || left === identities.at(name, present)) continue;
    conflicts.push({
      key: `pool ${name}`,
      text: state.pool(name) ? `${name} became free and was taken into use again` : `${name} is gone`,
    });
  }
  return conflicts;
}

/** Pools that are in use although the last revision that used them freed them. */
function takenPools(state: StateReader, { pools }: Change): Conflict[] {
  return pools
    .filter(([name, , after]) => after === null && state.pool(name) !== undefined)
    .map(([name]) => ({ key: `pool ${name}`, text: `${name} is in use` }));
}

/** The change without backends of the operator that it took into use and that other domains use too: the undo leaves them. */
function withoutSharedBackends(state: StateReader, change: Change): Change {
  const own = new Set(change.domains.map(([domain]) => domain));
  const isShared = ([name, before, after]: Change['pools'][number]): boolean =>
    before === null &&
    after?.external === true &&
    state.pool(name)?.domains.some((domain) => !own.has(domain)) === true;
  return { ...change, pools: change.pools.filter((one) => !isShared(one)) };
}

/** `change` with a free pool in place of each pool that it takes into use and that is in use, reserved or beyond the limit. */
function withFreePools(draft: Draft, change: Change, limit: PoolLimit): Change {
  const renamed = new Map<string, string>();
  const taken = new Set<string>();
  for (const [name, before, after] of change.pools) {
    if (before !== null || after === null || after.external) continue;
    const isBeyond = !limit.dynamic && (poolNumber(name) ?? 0) > limit.count;
    if (draft.pool(name) || isBeyond || limit.reserved?.has(name)) renamed.set(name, '');
    else taken.add(name);
  }
  if (renamed.size === 0) return change;
  const free = freePools(draft, limit);
  for (const name of renamed.keys()) {
    let next = free.next();
    while (next.done !== true && taken.has(next.value)) next = free.next();
    if (next.done === true) throw poolsExhaustedError(limit);
    renamed.set(name, next.value);
  }
  const of = (name: string) => renamed.get(name) ?? name;
  return {
    ...change,
    pools: change.pools.map(([name, ...values]) => [of(name), ...values]),
    domains: change.domains.map(([domain, before, after]) => [
      domain,
      before,
      after === null ? null : of(after),
    ]),
    servers: change.servers.map(([pool, ...values]) => [of(pool), ...values]),
  };
}

function isPast(site: SiteOptions | null, now: number): boolean {
  return (expiryOf(site ?? undefined) ?? Number.POSITIVE_INFINITY) <= now;
}

/** The change without the expiry of these domains. They would be removed again at once. */
function withoutExpiry(change: Change, hosts: ReadonlySet<string>): Change {
  return {
    ...change,
    sites: change.sites.map(([host, before, after]) => {
      if (!hosts.has(host)) return [host, before, after];
      const { expires_at: _, ...rest } = after ?? {};
      return [host, before, Object.keys(rest).length > 0 ? rest : null];
    }),
  };
}

/** The backends of the operator that a change points domains at. */
export function backendsOf({ domains }: Change): string[] {
  const names = new Set(
    domains.flatMap(([, , after]) => (after === null || isPoolName(after) ? [] : [after])),
  );
  return [...names];
}

/** @throws AppError undo_conflict, if a domain would point at a backend that cannot answer */
function requireBackends(change: Change, { backendProblem }: Situation, cannot: string): void {
  for (const backend of backendsOf(change)) {
    const problem = backendProblem(backend);
    if (problem !== undefined)
      throw new AppError(
        'undo_conflict',
        `${cannot}: it points a domain at the backend ${backend}, but ${problem}. Add the backend to haproxy.cfg and call ` +
          `{haproxy_reload}, or set other values with a change of your own. Nothing was changed.`,
      );
  }
}

function undoConflict(entry: Revision, conflicts: readonly Conflict[], later: readonly Revision[]): AppError {
  const keys = new Set(conflicts.map(({ key }) => key));
  const revisions = later.filter((one) => keysOf(one.change).some((key) => keys.has(key)));
  const reasons = shown(conflicts.map(({ text }) => text));
  const since = shown(revisions.map(named).toReversed());
  const why =
    revisions.length > 0
      ? `Later revisions changed this: ${since}. Undo those first ({haproxy_undo}), the newest first, or set the values with a change of your own.`
      : '{haproxy_history} shows what each revision changed.';
  return new AppError(
    'undo_conflict',
    `Revision ${entry.revision} cannot be undone, because what it touched is not as it left it: ${reasons}. ${why}`,
    { existing: { revisions: revisions.map((one) => one.revision) } },
  );
}

/** `3 ({haproxy_add_domain})`; a job of the suite has no operation that a caller can use. */
function named({ revision, operation }: Revision): string {
  return `${revision} (${operation.startsWith('haproxy_') ? `{${operation}}` : operation})`;
}

function keysOf(change: Change): string[] {
  return [
    ...change.domains.map(([domain]) => `domain ${domain}`),
    ...change.servers.map(([pool, slot]) => `server ${pool}/${slot}`),
    ...[...change.pools.map(([name]) => name), ...(change.replaced ?? [])].map((name) => `pool ${name}`),
    ...change.sites.map(([host]) => `site ${host}`),
  ];
}

function shown(items: readonly string[]): string {
  const more = items.length > SHOWN ? ` and ${items.length - SHOWN} more` : '';
  return `${items.slice(0, SHOWN).join(', ')}${more}`;
}
