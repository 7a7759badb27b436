import { canonicalIp } from '../model/ip-address.js';
import type { Routing } from '../model/routing.js';
import type { Draft, Pool } from '../model/state.js';
import type { TakenOverDto } from './state.dto.js';
import { serverName } from '../model/pool-name.js';
import { serverAddress, type ServerSpec } from '../model/server.js';

export interface RuntimeCapture {
  taken: TakenOverDto[];
  /** Servers that stay as they were, each with the reason. */
  refused: string[];
}

/**
 * Makes what HAProxy has of the servers we know the state: their addresses, weights and states. `seen` are the pools
 * as they were when HAProxy was asked; one that was changed since is left alone, because what HAProxy said of it is
 * older than what a caller has asked for.
 */
export function captureRuntime(
  draft: Draft,
  seen: ReadonlyMap<string, Pool>,
  actual: Routing,
  refusal: (ip: string) => string | undefined,
): RuntimeCapture {
  const result: RuntimeCapture = { taken: [], refused: [] };
  for (const [name, pool] of seen) {
    if (draft.pool(name) !== pool) {
      result.refused.push(`${name}: was changed at the same moment; save again`);
      continue;
    }
    for (const [slot, before] of pool.servers) {
      const server = serverName(name, slot);
      const found = actual.pools.get(name)?.get(slot);
      const after = found && { ...found, ip: canonicalIp(found.ip) };
      if (!after)
        result.refused.push(`${server}: HAProxy does not have it; haproxy_restore_state puts it back`);
      else if (after.ip === undefined)
        result.refused.push(`${server}: its address in HAProxy is ${found.ip}, which no server can have`);
      else if (after.ip !== before.ip && refusal(after.ip) !== undefined)
        result.refused.push(`${server}: ${refusal(after.ip)}`);
      else {
        const changes = changesOf(server, before, { ...after, ip: after.ip });
        if (changes.length === 0) continue;
        draft.putServer(name, slot, { ...after, ip: after.ip });
        result.taken.push(...changes);
      }
    }
  }
  return result;
}

function changesOf(server: string, before: ServerSpec, after: ServerSpec): TakenOverDto[] {
  const values = [
    { server, field: 'address' as const, before: serverAddress(before), after: serverAddress(after) },
    { server, field: 'weight' as const, before: String(before.weight), after: String(after.weight) },
    { server, field: 'state' as const, before: before.state, after: after.state },
  ];
  return values.filter((value) => value.before !== value.after);
}
