import { isIP } from 'node:net';
import { isPoolName } from '../../model/pool-name.js';
import type { ServerStateRow } from '../parsers/server-state.parser.js';

/** The keywords that start a section (configuration manual, chapter 2). */
const SECTION =
  /^(?:global|defaults|frontend|backend|listen|peers|mailers|resolvers|userlist|cache|ring|program|http-errors|log-forward|log-profile|fcgi-app|crt-store|traces|acme)$/;
const ADDRESS = /^(?:\[(?<six>[0-9A-Fa-f:.]+)\]|(?<four>[0-9.]+)):(?<port>\d{1,5})$/;

/**
 * The servers in pools that a configuration file declares with an IP address. Servers with a host name are ignored.
 * Used at the first start if HAProxy does not run.
 *
 *   backend pool_1 from pools
 *       server pool_1_1 10.0.0.1:80 weight 3 check disabled
 */
export function configServers(config: string): ServerStateRow[] {
  const rows: ServerStateRow[] = [];
  let backend: string | undefined;
  for (const line of config.split('\n')) {
    const words = (line.split('#', 1)[0] ?? '').trim().split(/\s+/);
    const [keyword = '', name = '', address = ''] = words;
    if (SECTION.test(keyword))
      backend = /^(?:backend|listen)$/.test(keyword) && isPoolName(name) ? name : undefined;
    else if (keyword === 'server' && backend !== undefined) {
      const groups = ADDRESS.exec(address)?.groups;
      const ip = groups?.['six'] ?? groups?.['four'] ?? '';
      if (isIP(ip) === 0) continue;
      const weight = Number(words[words.indexOf('weight', 3) + 1]);
      rows.push({
        backend,
        server: name,
        address: ip,
        port: Number(groups?.['port']),
        weight: words.includes('weight', 3) && Number.isInteger(weight) ? weight : 1,
        state: words.includes('disabled', 3) ? 'maint' : 'ready',
      });
    }
  }
  return rows;
}
