import { createHash } from 'node:crypto';
import type { ServerSpec } from '../server.js';
import { Draft } from '../draft.js';
import { type Pool, requirePool, type StateReader } from '../state.js';
import { TextSum } from './text-sum.js';

/** 96 bits in hexadecimal: no two values of one domain have the same tag by chance. */
const TAG_LENGTH = 24;

/** What is known of a list of domains: the sum of its first `length` names. A draft adds to its lists, and never removes. */
interface KnownNames {
  length: number;
  sum: TextSum;
}

/** A pool can have 100,000 domains, and a change of its servers keeps the list. */
const knownNames = new WeakMap<Pool['domains'], KnownNames>();

/**
 * The ETag of a domain, without quotes; undefined if there is no such domain. It is a hash of the saved values that
 * callers see: its name, its pool with the servers, the options and all other domains, and the options of its host. It
 * depends neither on the revision, nor on live data, nor on any order, so it survives restarts and changes of other pools.
 */
export function domainTag(state: StateReader, domain: string): string | undefined {
  return state.poolOf(domain) === undefined ? undefined : requireDomainTag(state, domain);
}

/** As `domainTag`, for a domain that must exist. @throws AppError domain_not_found */
export function requireDomainTag(state: StateReader, domain: string): string {
  const { name, pool } = requirePool(state, domain);
  const { domains, servers, ...rest } = pool;
  // As texts, because the replacer of canonicalJson takes milliseconds for a pool of 1,000 servers.
  const saved = {
    ...rest,
    domain,
    name,
    domains: `${domains.length} ${namesOf(state, name, pool).toString()}`,
    servers: JSON.stringify([...servers].toSorted(([a], [b]) => a - b).map(fieldsOf)),
    site: state.site(domain),
  };
  return createHash('sha256').update(canonicalJson(saved)).digest('hex').slice(0, TAG_LENGTH);
}

/** The sum of the names in a pool. The order has no meaning: a replay of the journal can give another one. */
function namesOf(state: StateReader, name: string, { domains }: Pick<Pool, 'domains'>): TextSum {
  const known = knownNames.get(domains) ??
    namesOfDraft(state, name, domains) ?? { length: 0, sum: new TextSum() };
  knownNames.set(domains, known);
  for (; known.length < domains.length; known.length += 1) known.sum.add(1, domains[known.length]);
  return known.sum;
}

/** The names before the draft, and what the draft changed: much less work than to hash all. */
function namesOfDraft(state: StateReader, name: string, domains: Pool['domains']): KnownNames | undefined {
  // A caller that is limited to some domains has a list of its own, without the others.
  if (!(state instanceof Draft) || state.pool(name)?.domains !== domains) return undefined;
  const former = state.base.pool(name);
  if (!former) return undefined;
  const sum = namesOf(state.base, name, former).copy();
  for (const [domain, to] of state.domains) {
    if (state.base.poolOf(domain) === name) sum.add(-1, domain);
    if (to === name) sum.add(1, domain);
  }
  return { length: domains.length, sum };
}

/** The values of a server in a fixed order. Fields of later versions follow by name. */
function fieldsOf([slot, { ip, http_port, weight, state, ...later }]: readonly [
  number,
  ServerSpec,
]): unknown[] {
  return [
    slot,
    ip,
    http_port,
    weight,
    state,
    ...Object.entries(later).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  ];
}

/** Equal values have equal text: keys are sorted, and fields without content are left out. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    const entries = Object.entries(inner).filter(([, field]) => !isEmpty(field));
    return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
