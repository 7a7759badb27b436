import { canonicalIp } from '../model/addresses/ip-address.js';
import type { Routing } from '../model/routing.js';
import type { Draft } from '../model/draft.js';
import type { Pool } from '../model/state.js';
import type { TakenOverDto } from './state.dto.js';
import { serverName } from '../model/names/pool-name.js';
import { serverAddress, type ServerSpec } from '../model/server.js';

export interface RuntimeCapture {
  /** The values of HAProxy that are in the draft now. */
  captured: TakenOverDto[];
  /** The servers that the capture does not change, each with the reason. */
  refused: string[];
}

/**
 * Copies the addresses, weights and states that HAProxy has into the draft, for servers that the state has. `before`:
 * the pools of the state when `actual` was read from HAProxy. A pool that has changed since then is refused, because
 * the change is newer than the values. `refusalOf` returns why a saved server may not become `live`.
 */
export function captureRuntime(
  draft: Draft,
  before: ReadonlyMap<string, Pool>,
  actual: Routing,
  refusalOf: (saved: ServerSpec, live: ServerSpec) => string | undefined,
): RuntimeCapture {
  const result: RuntimeCapture = { captured: [], refused: [] };
  for (const [name, pool] of before) {
    if (draft.pool(name) !== pool) {
      result.refused.push(`${name}: was changed while HAProxy was read; call {haproxy_save_state} again`);
      continue;
    }
    for (const [slot, saved] of pool.servers) {
      const server = serverName(name, slot);
      const found = actual.pools.get(name)?.get(slot);
      const live = found && { ...found, ip: canonicalIp(found.ip) };
      if (!live)
        result.refused.push(
          `${server}: HAProxy does not have it; call {haproxy_restore_state} to restore it`,
        );
      else if (live.ip === undefined)
        result.refused.push(`${server}: its address in HAProxy is ${found.ip}, which no server can have`);
      else {
        const after = { ...live, ip: live.ip };
        const changes = changesOf(server, saved, after);
        if (changes.length === 0) continue;
        const refusal = refusalOf(saved, after);
        if (refusal !== undefined) {
          result.refused.push(`${server}: ${refusal}`);
          continue;
        }
        draft.putServer(name, slot, after);
        result.captured.push(...changes);
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
