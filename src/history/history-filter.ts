import type { Scope } from '../model/scope/scope.js';
import type { StateReader } from '../model/state.js';
import type { HistoryEntry } from '../storage/formats/history-entry.js';

/** Which revisions to list. All given conditions hold for each of them. */
interface Conditions {
  domain?: string | undefined;
  actor?: string | undefined;
  operation: string | undefined;
  /** RFC 3339. */
  since?: string | undefined;
  /** Only revisions of domains in this scope. */
  scope?: Scope | undefined;
}

/**
 * Whether a caller with this scope may see a revision: all domains are known, and all are in scope. A line names at most 100
 * domains of a pool, and a change of the options of a pool names none.
 */
export function isInScope(
  { domains, more_domains: more = 0, change }: HistoryEntry,
  scope: Scope | undefined,
): boolean {
  if (!scope?.limitsDomains) return true;
  const named = [...domains, ...change.domains.map(([name]) => name), ...change.sites.map(([host]) => host)];
  const changesOptions = change.pools.some(([, before, after]) => before !== null && after !== null);
  return named.length > 0 && more === 0 && !changesOptions && scope.includesAll(named);
}

/**
 * Finds the revisions that match. It must see the revisions from the newest one on, because it follows the pool of the
 * domain back in time: a change of servers names the pool, and not all of its domains.
 */
export class HistoryFilter {
  readonly #since: number;
  /** The texts that a line must have. */
  readonly #words: readonly string[];
  readonly #domainWord: string | undefined;
  /** The pool of the domain after the revision that is next. */
  #pool: string | undefined;

  constructor(
    private readonly conditions: Conditions,
    state: StateReader,
  ) {
    const { domain, actor, operation, since } = conditions;
    this.#since = since === undefined ? Number.NEGATIVE_INFINITY : Date.parse(since);
    this.#words = [actor, operation].flatMap((word) => (word === undefined ? [] : [JSON.stringify(word)]));
    this.#domainWord = domain === undefined ? undefined : JSON.stringify(domain);
    this.#pool = domain === undefined ? undefined : state.poolOf(domain);
  }

  /** Whether it includes every revision. */
  get isEmpty(): boolean {
    return Object.values(this.conditions).every((value) => value === undefined);
  }

  /**
   * Whether the line has to be parsed: most lines do not match, and to search them costs much less. `isOnPage`: the entry
   * could be listed; the others are only counted.
   */
  mayMatch(text: string, isOnPage: boolean): boolean {
    if (this.isEmpty) return isOnPage;
    // Each line that names the domain is needed to follow its pool.
    if (this.#domainWord !== undefined)
      return (
        text.includes(this.#domainWord) ||
        (this.#pool !== undefined && text.includes(JSON.stringify(this.#pool)))
      );
    return this.#words.every((word) => text.includes(word));
  }

  /** Whether the entry is older than all that are asked for. */
  isBefore({ time }: HistoryEntry): boolean {
    return Date.parse(time) < this.#since;
  }

  /** Call it once for each entry, the newest first. */
  includes(entry: HistoryEntry): boolean {
    const { actor, operation, scope } = this.conditions;
    const isAbout = this.#isAboutDomain(entry);
    if (actor !== undefined && entry.actor !== actor) return false;
    if (operation !== undefined && entry.operation !== operation) return false;
    return isAbout && isInScope(entry, scope);
  }

  #isAboutDomain({ domains, change }: HistoryEntry): boolean {
    const { domain } = this.conditions;
    if (domain === undefined) return true;
    const pool = this.#pool;
    const own = change.domains.find(([name]) => name === domain);
    if (own) this.#pool = own[1] ?? undefined;
    return (
      own !== undefined ||
      domains.includes(domain) ||
      change.sites.some(([host]) => host === domain) ||
      (pool !== undefined &&
        (change.servers.some(([name]) => name === pool) || change.pools.some(([name]) => name === pool)))
    );
  }
}
