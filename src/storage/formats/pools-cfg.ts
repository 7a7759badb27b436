import { type PoolServers, serverName } from '../../model/routing.js';
import { SERVER_KEYWORDS, serverAddress } from '../../haproxy/config/server-keywords.js';

/** Servers of a pool are replaced, never changed, so that each commit makes anew only what it touched. */
const rendered = new WeakMap<PoolServers, { pool: string; text: string }>();

/**
 * One pool of pools.cfg. `balance` is always written, because 3.3 changed the default. A drained server gets weight
 * 0, which gives it no new requests either when HAProxy starts by itself; the suite then puts the real weight back.
 */
export function renderPool(pool: string, servers: PoolServers): string {
  if (servers.size === 0) return headOf(pool);
  const known = rendered.get(servers);
  if (known?.pool === pool) return known.text;
  const text = renderServers(pool, servers);
  rendered.set(servers, { pool, text });
  return text;
}

function headOf(pool: string): string {
  return `backend ${pool} from pools\n    balance roundrobin\n`;
}

function renderServers(pool: string, servers: PoolServers): string {
  let text = headOf(pool);
  for (const [slot, server] of [...servers].toSorted(([one], [other]) => one - other)) {
    const weight = server.state === 'drain' ? 0 : server.weight;
    const disabled = server.state === 'maint' ? ' disabled' : '';
    text += `    server ${serverName(pool, slot)} ${serverAddress(server.ip, server.http_port)} weight ${weight} ${SERVER_KEYWORDS.join(' ')}${disabled}\n`;
  }
  return text;
}
