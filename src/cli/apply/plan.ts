import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../../errors/app-error.js';
import { type Labels, labelsOf } from '../../model/options/labels.js';
import type { ServerSpec } from '../../model/server.js';
import { serverAddress } from '../../model/server.js';
import { Draft } from '../../model/draft.js';
import type { State, StateReader } from '../../model/state.js';
import { applyPuts } from '../../transfer/put-import.js';
import type { PutRecord } from '../../transfer/put-record.js';

/** What a reader sees of a domain. */
export interface DomainView {
  /** The operator's backend that it points at. */
  backend?: string;
  /** Another domain of its pool. */
  shared_with?: string;
  servers: readonly { address: string; weight: number; state: ServerSpec['state'] }[];
  labels?: Labels;
  expires_at?: string;
}

export interface DomainChange {
  domain: string;
  before: DomainView;
  after: DomainView;
  /** It changes to another pool or backend. */
  moved: boolean;
  /** Other domains of the pool, whose servers change too. */
  also_changed: readonly string[];
}

/** What an apply does. */
export interface ApplyPlan {
  created: ({ domain: string } & DomainView)[];
  changed: DomainChange[];
  removed: ({ domain: string } & DomainView)[];
  /** How many domains of the files are already as they should be. */
  unchanged: number;
}

/** What is to be said about a record. `line` is the line of the record. */
export interface RecordProblem {
  line: number;
  message: string;
}

/** The suite has the real limits and checks them. */
const NO_LIMITS = {
  pools: { count: Number.POSITIVE_INFINITY, dynamic: true },
  slots: Number.POSITIVE_INFINITY,
};

/** How many other domains a change names. A pool can have 100,000. */
const ALSO_CHANGED_SHOWN = 100;

/**
 * What makes `current` be as the records say. Pure: it runs the rules of the suite on a copy. With `prune` the domains
 * without a record are removed. `problems`: records that cannot be applied. `warnings`: records whose time has passed.
 */
export function planApply(
  records: readonly PutRecord[],
  current: State,
  { prune, now = Date.now() }: { prune: boolean; now?: number },
): ApplyPlan & { problems: RecordProblem[]; warnings: RecordProblem[] } {
  const draft = new Draft(current);
  const problems: RecordProblem[] = [];
  const warnings: RecordProblem[] = [];
  const removed = prune ? domainsWithout(records, current) : [];
  const lines = [
    ...records,
    ...removed.map((domain, index) => absentRecord(records.length + 1 + index, domain)),
  ];
  const pruned = new Set(removed);
  try {
    applyPuts(
      draft,
      lines,
      { ...NO_LIMITS, now },
      (line, _code, message) => {
        const target = records[line - 1]?.input.share_with;
        const why =
          target !== undefined && pruned.has(target)
            ? `share_with: no file has ${target}, and --prune removes it`
            : message;
        problems.push({ line, message: why });
      },
      (line, message) => warnings.push({ line, message }),
    );
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    problems.push({ line: 0, message: error.detail });
  }
  const declared = new Set(records.map(({ domain }) => domain));
  const [created, changed] = [[] as ApplyPlan['created'], [] as DomainChange[]];
  const givers = serverGivers(records, draft);
  for (const { domain } of records) {
    const [from, to] = [current.poolOf(domain), draft.poolOf(domain)];
    if (to === undefined) continue;
    if (from === undefined) created.push({ domain, ...viewOf(draft, domain) });
    else if (from !== to)
      changed.push({
        domain,
        before: viewOf(current, domain),
        after: viewOf(draft, domain),
        moved: true,
        also_changed: [],
      });
    else if (current.pool(from)?.servers !== draft.pool(to)?.servers && givers.get(to) === domain) {
      const others =
        draft.pool(to)?.domains.filter((other) => other !== domain && current.poolOf(other) === to) ?? [];
      changed.push({
        domain,
        before: viewOf(current, domain),
        after: viewOf(draft, domain),
        moved: false,
        also_changed: others
          .toSorted((one, other) => Number(declared.has(one)) - Number(declared.has(other)))
          .slice(0, ALSO_CHANGED_SHOWN),
      });
    } else if (!isDeepStrictEqual(marksOf(current, domain), marksOf(draft, domain)))
      changed.push({
        domain,
        before: viewOf(current, domain),
        after: viewOf(draft, domain),
        moved: false,
        also_changed: [],
      });
  }
  return {
    created,
    changed,
    removed: removed.map((domain) => Object.assign({ domain }, viewOf(current, domain))),
    unchanged:
      records.filter(({ domain }) => draft.poolOf(domain) !== undefined).length -
      created.length -
      changed.length,
    problems,
    warnings,
  };
}

export function isEmptyPlan({ created, changed, removed }: ApplyPlan): boolean {
  return created.length + changed.length + removed.length === 0;
}

/** The lines of an import with mode=put that does this. */
export function importLines(records: readonly PutRecord[], { removed }: Pick<ApplyPlan, 'removed'>): string {
  const lines: object[] = records.map(({ input }) => input);
  for (const { domain } of removed) lines.push({ domain, absent: true });
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

/** The first domain of each pool to which a record gives servers. */
function serverGivers(records: readonly PutRecord[], state: StateReader): ReadonlyMap<string, string> {
  const givers = new Map<string, string>();
  for (const { domain, input } of records) {
    const pool = state.poolOf(domain);
    const givesServers = input.servers !== undefined || input.ip !== undefined;
    if (givesServers && pool !== undefined && !givers.has(pool)) givers.set(pool, domain);
  }
  return givers;
}

function domainsWithout(records: readonly PutRecord[], current: State): string[] {
  const declared = new Set(records.map(({ domain }) => domain));
  return current.sortedDomains().filter((domain) => !declared.has(domain));
}

function absentRecord(line: number, domain: string): PutRecord {
  return { line, domain, absent: true, input: { domain }, servers: [] };
}

/** The labels and the expiry of a domain. */
function marksOf(state: StateReader, domain: string): Pick<DomainView, 'labels' | 'expires_at'> {
  const site = state.site(domain);
  const labels = labelsOf(site);
  const expires = site?.['expires_at'];
  return { ...(labels && { labels }), ...(typeof expires === 'string' && { expires_at: expires }) };
}

function viewOf(state: StateReader, domain: string): DomainView {
  const name = state.poolOf(domain) ?? '';
  const pool = state.pool(name);
  const marks = marksOf(state, domain);
  if (pool?.external) return { backend: name, servers: [], ...marks };
  const other = pool?.domains[0] === domain ? pool.domains[1] : pool?.domains[0];
  const servers = [...(pool?.servers.values() ?? [])].map((server) => ({
    address: serverAddress(server),
    weight: server.weight,
    state: server.state,
  }));
  return { ...(other !== undefined && { shared_with: other }), servers, ...marks };
}
