import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../errors/app-error.js';
import {
  applyChange,
  type Change,
  composed,
  inverseOf,
  isSameOrAbsent,
  propertiesOf,
} from '../model/change.js';
import { isPoolName, poolNumber } from '../model/pool-name.js';
import { serverAddress } from '../model/server.js';
import type { Draft, StateReader } from '../model/state.js';
import { lowestFreePool, poolBeyond, type PoolLimit } from '../reconciler/pools/pool-limits.js';
import type { HistoryEntry } from '../storage/history-log.js';

/** What undo needs to know of a revision. */
export type Revision = Pick<
  HistoryEntry,
  'revision' | 'operation' | 'change' | 'undoes' | 'rolls_back_to' | 'unknown_since'
>;

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
 * @throws AppError undo_conflict, if something is not as the revision left it; pools_exhausted
 */
export function undo(draft: Draft, entry: Revision, later: readonly Revision[], limit: PoolLimit): void {
  const { revision, change } = entry;
  if (isEmpty(change))
    throw new AppError(
      'undo_conflict',
      `Revision ${revision} (${entry.operation}) has nothing that can be undone. {haproxy_history} shows what each revision changed.`,
    );
  const unknown = later.find(({ unknown_since }) => unknown_since !== undefined);
  if (unknown) throw unknownRevisions(unknown, revision);
  const effective = withoutTakenBack(later);
  const conflicts = [...conflictsOf(draft, change), ...reusedPools(draft, change, effective)];
  if (conflicts.length > 0) throw conflictError(revision, conflicts, later);
  applyChange(draft, withFreePools(draft, inverseOf(change), limit));
  draft.takesBack = { undoes: revision };
}

/**
 * Makes the state be as of `revision`. `later` are all revisions after it up to the state of the draft, oldest first.
 *
 * @throws AppError undo_conflict if revisions in between are not known, or if the state is not as the last one left it;
 *   pools_exhausted
 */
export function rollBack(draft: Draft, revision: number, later: readonly Revision[], limit: PoolLimit): void {
  const unknown = later.find(({ unknown_since }) => unknown_since !== undefined);
  if (unknown) throw unknownRevisions(unknown, revision);
  const change = composed(later.map((entry) => entry.change));
  const conflicts = conflictsOf(draft, change);
  if (conflicts.length > 0) throw conflictError(revision, conflicts, later);
  const back = inverseOf(change);
  if (!limit.dynamic)
    for (const [name, , after] of back.pools)
      if (after && isPoolName(name) && (poolNumber(name) ?? 0) > limit.count)
        throw new AppError(
          'pools_exhausted',
          `Revision ${revision} needs ${name}: ${poolBeyond(name, limit).replace('; leave pool out', '')}. Nothing was changed.`,
        );
  applyChange(draft, back);
  draft.takesBack = { rolls_back_to: revision };
}

export function isEmpty({ pools, domains, servers, sites }: Change): boolean {
  return pools.length + domains.length + servers.length + sites.length === 0;
}

/**
 * Revisions in their order without those that a later one of them took back, and without the ones that did this. What
 * remains changed something that was not put back.
 */
export function withoutTakenBack(revisions: readonly Revision[]): Revision[] {
  const first = revisions[0]?.revision ?? 0;
  const takenBack = new Set<number>();
  const remaining: Revision[] = [];
  for (const entry of revisions.toReversed()) {
    const { revision, undoes, rolls_back_to: target } = entry;
    if (takenBack.has(revision)) continue;
    if (undoes !== undefined && undoes >= first) takenBack.add(undoes);
    else if (target !== undefined && target >= first - 1) {
      for (const other of revisions)
        if (other.revision > target && other.revision < revision) takenBack.add(other.revision);
    } else remaining.push(entry);
  }
  return remaining.toReversed();
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

/** What the undo would remove although the revision did not add it: with a pool that becomes free, or with a domain. */
function lostByRemoval(state: StateReader, change: Change): Conflict[] {
  const conflicts: Conflict[] = [];
  const own = new Set(change.servers.map(([pool, slot]) => `${pool}/${slot}`));
  const leaving = new Map<string, Set<string>>();
  for (const [domain, , after] of change.domains)
    if (after !== null) leaving.set(after, (leaving.get(after) ?? new Set()).add(domain));
  const coming = new Set(change.domains.map(([, before]) => before));
  const created = new Set(change.pools.filter(([, before]) => before === null).map(([name]) => name));
  const sites = new Set(change.sites.map(([host]) => host));
  for (const [domain, before] of change.domains)
    if (before === null && !sites.has(domain) && state.site(domain))
      conflicts.push({ key: `site ${domain}`, text: `${domain} has options now` });
  for (const [name, domains] of leaving) {
    const pool = state.pool(name);
    if (!pool) continue;
    const stays = pool.domains.find((domain) => !domains.has(domain));
    if (created.has(name) && stays !== undefined)
      conflicts.push({ key: `domain ${stays}`, text: `${stays} is in ${name} too` });
    if (stays !== undefined || coming.has(name)) continue;
    if (!created.has(name) && !pool.external)
      conflicts.push({
        key: `pool ${name}`,
        text: `${name} has no other domain any more, and would lose its servers`,
      });
    for (const slot of pool.servers.keys())
      if (created.has(name) && !own.has(`${name}/${slot}`))
        conflicts.push({ key: `server ${name}/${slot}`, text: `${name} has another server in slot ${slot}` });
  }
  return conflicts;
}

/** Pools that the revision neither took into use nor freed, and that have been freed or taken into use since. */
function reusedPools(state: StateReader, change: Change, later: readonly Revision[]): Conflict[] {
  const own = new Set(
    change.pools.filter(([, before, after]) => before === null || after === null).map(([name]) => name),
  );
  const used = new Set([
    ...change.domains.flatMap(([, before, after]) => [before, after]),
    ...change.servers.map(([pool]) => pool),
    ...change.pools.map(([name]) => name),
  ]);
  const reused = new Set(
    later.flatMap((entry) =>
      entry.change.pools
        .filter(([, before, after]) => before === null || after === null)
        .map(([name]) => name),
    ),
  );
  return [...used]
    .filter((name): name is string => name !== null && !own.has(name) && reused.has(name))
    .map((name) => ({
      key: `pool ${name}`,
      text: state.pool(name) ? `${name} belongs to other domains` : `${name} is gone`,
    }));
}

/** `change` with a free pool in place of each pool that it takes into use and that is in use, or beyond the limit. */
function withFreePools(draft: Draft, change: Change, limit: PoolLimit): Change {
  const renamed = new Map<string, string>();
  const taken = new Set<string>();
  for (const [name, before, after] of change.pools) {
    if (before !== null || after === null || after.external) continue;
    const isBeyond = !limit.dynamic && (poolNumber(name) ?? 0) > limit.count;
    if (!draft.pool(name) && !isBeyond) taken.add(name);
    else renamed.set(name, '');
  }
  if (renamed.size === 0) return change;
  for (const name of renamed.keys()) {
    const reserved = new Set([...(limit.reserved ?? []), ...taken]);
    const free = lowestFreePool(draft, { ...limit, reserved });
    taken.add(free);
    renamed.set(name, free);
  }
  const of = (name: string) => renamed.get(name) ?? name;
  return {
    pools: change.pools.map(([name, ...values]) => [of(name), ...values]),
    domains: change.domains.map(([domain, before, after]) => [
      domain,
      before,
      after === null ? null : of(after),
    ]),
    servers: change.servers.map(([pool, ...values]) => [of(pool), ...values]),
    sites: change.sites,
  };
}

function conflictError(
  revision: number,
  conflicts: readonly Conflict[],
  later: readonly Revision[],
): AppError {
  const keys = new Set(conflicts.map(({ key }) => key));
  const revisions = later.filter((entry) => keysOf(entry.change).some((key) => keys.has(key)));
  const undone = revisions.find((entry) => entry.undoes === revision);
  const reasons = shown(conflicts.map(({ text }) => text));
  const since = shown(revisions.map((entry) => `${entry.revision} (${entry.operation})`).toReversed());
  const why = undone
    ? `Revision ${undone.revision} has undone it already.`
    : revisions.length > 0
      ? `Later revisions changed this: ${since}. Undo them first, the newest first, or set the values with a change of your own.`
      : '{haproxy_history} shows what each revision changed.';
  return new AppError(
    'undo_conflict',
    `Revision ${revision} cannot be undone, because what it touched is not as it left it: ${reasons}. ${why}`,
    { existing: { revisions: revisions.map((entry) => entry.revision) } },
  );
}

function keysOf(change: Change): string[] {
  return [
    ...change.domains.map(([domain]) => `domain ${domain}`),
    ...change.servers.map(([pool, slot]) => `server ${pool}/${slot}`),
    ...change.pools.map(([name]) => `pool ${name}`),
    ...change.sites.map(([host]) => `site ${host}`),
  ];
}

function unknownRevisions({ unknown_since, revision }: Revision, asked: number): AppError {
  return new AppError(
    'undo_conflict',
    `The history does not have the revisions from ${(unknown_since ?? 0) + 1} to ${revision}, so it is not known what changed since revision ${asked}. ` +
      'Set the values with a change of your own.',
  );
}

function shown(items: readonly string[]): string {
  const more = items.length > SHOWN ? ` and ${items.length - SHOWN} more` : '';
  return `${items.slice(0, SHOWN).join(', ')}${more}`;
}
