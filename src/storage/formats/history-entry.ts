import type { CallContext } from '../../contract/call-context.js';
import type { Change, PoolProperties } from '../../model/change/change.js';
import { knownDomain } from '../../model/names/domain-name.js';
import { findPoolOptionsProblem, findSiteProblem } from '../../model/options/options.js';
import { BACKEND_NAME, isPoolName } from '../../model/names/pool-name.js';
import { findServerProblem, type UncheckedServer } from '../../model/server.js';
import type { TakesBack } from '../../model/draft.js';

/** One revision: who changed what, and each value before and after. One line of `data/history.jsonl`. */
export interface HistoryEntry extends TakesBack {
  /** First in the line, so that a reader needs only the beginning of most lines. */
  revision: number;
  /** The revision of the state before the commit. A commit can have the changes of several callers. */
  base: number;
  /** RFC 3339, UTC. */
  time: string;
  actor: string;
  via: CallContext['via'];
  request_id?: string;
  /** The name of the operation, which is also the name of its tool. */
  operation: string;
  /** Which of the commits of the call this is, if a call makes several. */
  stage?: string;
  /**
   * The revisions between this one and the revision of this entry are not known: lines were lost. In an entry without a
   * change also what the revision of this entry changed.
   */
  unknown_since?: number;
  /** StateHash of the state after the revision. */
  state: string;
  /** The domains that the change affects, at most 100. */
  domains: readonly string[];
  /** How many more domains the change affects. */
  more_domains?: number;
  change: Change;
}

const REVISION = /^\{"revision":(\d{1,16}),/;
/** Longer than what a line has before its list of domains. */
const HEAD_LENGTH = 4096;
const TAKES_BACK = /"(?:undoes|rolls_back_to|unknown_since)":/;

export function renderEntry({ revision, ...entry }: HistoryEntry): string {
  const { domains, more_domains, change, ...head } = entry;
  // The order of the keys: see `revisionOf` and `takesBack`.
  return `${JSON.stringify({ revision, ...head, domains, ...(more_domains !== undefined && { more_domains }), change })}\n`;
}

/** The revision of a line, without reading the whole line. */
export function revisionOf(text: string): number | undefined {
  const found = REVISION.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Whether the entry takes others back, or says that others are not known. */
export function takesBack(text: string): boolean {
  return TAKES_BACK.test(text.slice(0, HEAD_LENGTH));
}

/**
 * Undefined for text that is not a line of the history: the file may have been damaged or edited. What a line holds is sent
 * to HAProxy by an undo, so each value is checked as a value of `servers.json` is.
 */
export function parseEntry(text: string): HistoryEntry | undefined {
  try {
    const entry = JSON.parse(text) as HistoryEntry;
    return isEntry(entry) ? entry : undefined;
  } catch {
    return undefined;
  }
}

function isEntry(entry: Partial<HistoryEntry>): boolean {
  const { revision, base, time, actor, via, operation, state, domains, change, undoes, rolls_back_to } =
    entry;
  return (
    [revision, base].every(isRevision) &&
    [undoes, rolls_back_to, entry.unknown_since, entry.more_domains].every(
      (value) => value === undefined || isRevision(value),
    ) &&
    [time, actor, operation, state].every((value) => typeof value === 'string') &&
    !Number.isNaN(Date.parse(time ?? '')) &&
    (via === 'rest' || via === 'mcp' || via === 'internal') &&
    [entry.request_id, entry.stage].every((value) => value === undefined || typeof value === 'string') &&
    Array.isArray(domains) &&
    domains.every((domain) => typeof domain === 'string') &&
    isChange(change)
  );
}

function isRevision(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isChange(change: Change | undefined): boolean {
  if (!change) return false;
  const { pools, domains, servers, sites, replaced = [] } = change;
  return (
    isListOf(pools, 3, ([name, ...values]) => isPool(name) && values.every(orNull(isProperties))) &&
    isListOf(domains, 3, ([name, ...values]) => isDomain(name) && values.every(orNull(isPool))) &&
    isListOf(
      servers,
      4,
      ([name, slot, ...values]) =>
        isPool(name) && Number.isSafeInteger(slot) && values.every(orNull(isServer)),
    ) &&
    isListOf(sites, 3, ([name, ...values]) => isDomain(name) && values.every(orNull(isSite))) &&
    Array.isArray(replaced) &&
    replaced.every(isPool)
  );
}

function isListOf(list: unknown, length: number, isItem: (item: unknown[]) => boolean): boolean {
  return (
    Array.isArray(list) &&
    list.every((item: unknown) => Array.isArray(item) && item.length === length && isItem(item as unknown[]))
  );
}

function orNull(isValue: (value: unknown) => boolean): (value: unknown) => boolean {
  return (value) => value === null || isValue(value);
}

function isPool(name: unknown): boolean {
  return typeof name === 'string' && (isPoolName(name) || BACKEND_NAME.test(name));
}

function isDomain(name: unknown): boolean {
  return typeof name === 'string' && knownDomain(name) === name;
}

function isServer(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { ip, http_port, weight, state, ...rest } = value as UncheckedServer;
  return (
    [ip, http_port, weight, state].every((field) => field !== undefined) &&
    Object.keys(rest).length === 0 &&
    findServerProblem({ ip, http_port, weight, state }) === undefined
  );
}

function isSite(value: unknown): boolean {
  return findSiteProblem(value, []) === undefined;
}

function isProperties(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { external, options, ...rest } = value as PoolProperties;
  return (
    (external === undefined || external) &&
    (options === undefined || findPoolOptionsProblem(options, []) === undefined) &&
    Object.keys(rest).length === 0
  );
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
