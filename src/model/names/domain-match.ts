import { isWildcard } from './domain-name.js';
import { type Pool, requirePool, type StateReader } from '../state.js';

/** The entry that serves a host: the host itself, or the wildcard of its last labels. */
export interface MatchedDomain {
  matched: string;
  pool: string;
}

/** The entries that can serve a host, in the order in which HAProxy looks them up. A wildcard matches one label. */
export function candidatesOf(host: string): string[] {
  const dot = host.indexOf('.');
  return isWildcard(host) || dot < 0 ? [host] : [host, `*${host.slice(dot)}`];
}

/** The entry that serves a host; undefined if none does. */
export function matchDomain(state: StateReader, host: string): MatchedDomain | undefined {
  for (const matched of candidatesOf(host)) {
    const pool = state.poolOf(matched);
    if (pool !== undefined) return { matched, pool };
  }
  return undefined;
}

/** @throws AppError domain_not_found */
export function requireMatch(state: StateReader, host: string): MatchedDomain & { servers: Pool['servers'] } {
  const found = matchDomain(state, host) ?? { matched: host, pool: '' };
  const { name, pool } = requirePool(state, found.matched);
  return { matched: found.matched, pool: name, servers: pool.servers };
}
