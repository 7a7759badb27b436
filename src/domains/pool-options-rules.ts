import { AppError } from '../errors/app-error.js';
import { otherDomains } from '../model/domain-view.js';
import type { PoolOptions } from '../model/options/pool-options.js';
import type { Draft } from '../model/draft.js';
import { requirePool } from '../model/state.js';

/** The pool of a domain after its options were set. */
export interface PoolWithOptions {
  domain: string;
  pool: string;
  options: PoolOptions;
  also_changed: string[];
}

/**
 * Replaces the options of the pool of a domain; undefined removes them. `declared` are the pools of haproxy.cfg.
 *
 * @throws AppError domain_not_found, pool_external
 */
export function setPoolOptions(
  draft: Draft,
  domain: string,
  options: PoolOptions | undefined,
  declared: ReadonlySet<string>,
): PoolWithOptions {
  const { name, pool } = requirePool(draft, domain);
  if (pool.external || declared.has(name))
    throw new AppError(
      'pool_external',
      `${name} is a backend of haproxy.cfg, so its options are there too. Edit the file, use {haproxy_check_config}, then {haproxy_reload}.`,
    );
  draft.setPoolOptions(name, options);
  return { domain, pool: name, options: options ?? {}, also_changed: otherDomains(pool, domain) };
}
