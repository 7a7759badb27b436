import { AppError } from '../errors/app-error.js';
import type { Pool, StateReader } from './state.js';

/** @throws AppError domain_not_found */
export function requirePool(state: StateReader, domain: string): { name: string; pool: Pool } {
  const name = state.poolOf(domain);
  const pool = name === undefined ? undefined : state.pool(name);
  if (name === undefined || !pool)
    throw new AppError(
      'domain_not_found',
      `There is no domain ${domain}. haproxy_list_domains (GET /api/v1/domains) shows those there are; ` +
        'haproxy_add_domain (POST /api/v1/domains) adds one.',
    );
  return { name, pool };
}
