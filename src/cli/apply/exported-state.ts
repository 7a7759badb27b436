import type { SiteOptions } from '../../model/options/options.js';
import type { ServerSpec } from '../../model/server.js';
import { type Pool, State } from '../../model/state.js';

/** The line of an export (src/transfer/export.service.ts). */
interface ExportedRecord {
  domain: string;
  share_with?: string;
  pool?: string;
  backend?: string;
  servers?: (ServerSpec & { slot: number })[];
  site?: SiteOptions;
}

/** The domains, pools and servers of an export of the suite. */
export function stateOfExport(text: string): State {
  const pools = new Map<string, Pool & { domains: string[] }>();
  const poolOf = new Map<string, Pool & { domains: string[] }>();
  const sites: [string, SiteOptions][] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const { domain, share_with, pool, backend, servers = [], site } = JSON.parse(line) as ExportedRecord;
    if (site) sites.push([domain, site]);
    const shared = share_with === undefined ? undefined : poolOf.get(share_with);
    const found = shared ?? {
      domains: [],
      servers: new Map(servers.map(({ slot, ...server }) => [slot, server])),
      ...(backend !== undefined && { external: true as const }),
    };
    if (!shared) pools.set(pool ?? backend ?? '', found);
    found.domains.push(domain);
    poolOf.set(domain, found);
  }
  return new State(0, pools, sites);
}
