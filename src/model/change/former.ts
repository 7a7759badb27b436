import { isDeepStrictEqual } from 'node:util';
import type { PoolOptions, SiteOptions } from '../options/options.js';
import { isSameServer, type ServerSpec } from '../server.js';
import type { Draft } from '../draft.js';

/** The most domains and servers of a change that are listed. A pool has at most 1,000 servers. */
const MAX_DOMAINS = 100;
const MAX_SERVERS = 1000;

/** A domain as it was before a change. */
export interface FormerDomain {
  domain: string;
  pool: string;
  /** The pool is a backend of the operator. */
  external?: true;
  /** A domain that stays in the pool: `share_with` for putting the domain back. Absent if the pool was freed. */
  share_with?: string;
  site?: SiteOptions;
}

/** A server as it was before a change. */
export interface FormerServer extends ServerSpec {
  pool: string;
  slot: number;
}

/** What a change removed or overwrote, so that it can be put back by hand. */
export interface FormerValues {
  domains: FormerDomain[];
  servers: FormerServer[];
  /** The options of pools that had other options. Absent if there are none. */
  pools?: { pool: string; options: PoolOptions }[];
  /** How many more domains and servers the change removed or overwrote. Absent if all are listed. */
  more?: number;
}

/** What a draft removes or overwrites; undefined if it only adds. Call it before the draft is merged. */
export function formerValues(draft: Draft): FormerValues | undefined {
  const { base } = draft;
  const former: FormerValues = { domains: [], servers: [] };
  const pools: { pool: string; options: PoolOptions }[] = [];
  let more = 0;
  for (const domain of new Set([...draft.domains.keys(), ...draft.sites.keys()])) {
    if (base.poolOf(domain) === undefined) continue;
    if (former.domains.length < MAX_DOMAINS) former.domains.push(formerDomain(draft, domain));
    else more += 1;
  }
  for (const [pool, after] of draft.pools) {
    const options = base.pool(pool)?.options;
    if (options && !isDeepStrictEqual(options, after?.options)) {
      if (pools.length < MAX_DOMAINS) pools.push({ pool, options });
      else more += 1;
    }
    const before = base.pool(pool)?.servers;
    if (!before || before === after?.servers) continue;
    for (const [slot, server] of before) {
      if (isSameServer(server, after?.servers.get(slot))) continue;
      if (former.servers.length < MAX_SERVERS) former.servers.push({ pool, slot, ...server });
      else more += 1;
    }
  }
  if (former.domains.length + former.servers.length + pools.length === 0) return undefined;
  return { ...former, ...(pools.length > 0 && { pools }), ...(more > 0 && { more }) };
}

function formerDomain(draft: Draft, domain: string): FormerDomain {
  const { base } = draft;
  const pool = base.poolOf(domain) ?? '';
  const site = base.site(domain);
  const others = draft.visiblePool(pool)?.domains ?? [];
  const share_with = others.find((other) => other !== domain && base.poolOf(other) === pool);
  return {
    domain,
    pool,
    ...(base.pool(pool)?.external && { external: true }),
    ...(share_with !== undefined && { share_with }),
    ...(site && { site }),
  };
}
