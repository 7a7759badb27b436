import { createHash } from 'node:crypto';
import { otherDomains } from '../domain-view.js';
import type { ServerSpec } from '../server.js';
import { requirePool, type StateReader } from '../state.js';

/** 96 bits in hexadecimal: no two values of one domain have the same tag by chance. */
const TAG_LENGTH = 24;

/**
 * The ETag of a domain, without quotes; undefined if there is no such domain. It is a hash of the saved values that
 * callers see: its name, its pool with the servers, the options and the other domains, and the options of its host. It
 * depends neither on the revision nor on live data, so it survives restarts and changes of other pools.
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
    // The order of the other domains has no meaning, and of many domains an answer shows only the first ones.
    others: JSON.stringify(otherDomains(pool, domain).toSorted()),
    count: domains.length,
    servers: JSON.stringify([...servers].toSorted(([a], [b]) => a - b).map(fieldsOf)),
    site: state.site(domain),
  };
  return createHash('sha256').update(canonicalJson(saved)).digest('hex').slice(0, TAG_LENGTH);
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
