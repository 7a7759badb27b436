import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import type { ServerStatusRow } from '../haproxy/runtime/server-status.js';
import { serverName } from '../model/pool-name.js';
import { serverAddress } from '../model/server.js';
import type { StateReader } from '../model/state.js';
import {
  formatGivenAddress,
  type GivenAddress,
  helperNames,
  type Move,
  serversAt,
  type Undone,
} from './replace-server-rules.js';
import { type PlacedServer, SERVERS_SHOWN } from './server-rules.js';

/** How many servers or pools a message names. */
const NAMED = 5;

/** The old servers, as the answer and the audit log keep them. */
export function formerOf(moves: readonly Move[]): object {
  const servers = moves.slice(0, SERVERS_SHOWN).map(({ pool, slot, from }) => ({ pool, slot, ...from }));
  const left = moves.length - servers.length;
  return { domains: [], servers, ...(left > 0 && { more: left }) };
}

/** The steps after the new server is healthy. */
export function laterSteps(moves: readonly Move[]): PlanStepDto[] {
  const helped = moves.filter(({ helper }) => helper !== undefined);
  return [
    ...helped
      .filter(({ from }) => from.state === 'ready')
      .map(({ pool, slot }) => laterStep('set_state', pool, slot, 'becomes drain')),
    ...moves.map(({ pool, slot, to }) =>
      laterStep('put_server', pool, slot, `becomes ${serverAddress(to)}, when it is idle`),
    ),
    ...helped.map(({ pool, helper }) =>
      laterStep('remove_server', pool, helper ?? 0, 'is removed, because the new server has its slot'),
    ),
  ];
}

function laterStep(action: PlanStepDto['action'], pool: string, slot: number, effect: string): PlanStepDto {
  const name = serverName(pool, slot);
  return { target: 'haproxy', action, name, text: `${name} ${effect}` };
}

/** The first of `texts`, and how many more there are. */
export function listed(texts: readonly string[], separator = ', '): string {
  const rest = texts.length - NAMED;
  return texts.slice(0, NAMED).join(separator) + (rest > 0 ? ` and ${rest} more` : '');
}

function oldName({ pool, slot }: Move): string {
  return serverName(pool, slot);
}

export function healthText(name: string, row: ServerStatusRow | undefined): string {
  if (!row) return `${name} is not in HAProxy`;
  if (row.status === 'no check') return `${name} has no health check`;
  return `${name} is ${row.status}${row.lastCheck === '' ? '' : ` (${row.lastCheck})`}`;
}

/**
 * What a replacement that did not end has left, and what to call. From the state, because the call may have ended before
 * or after each of its changes.
 */
export function leftText(state: StateReader, from: GivenAddress, to: GivenAddress): string {
  const old = serversAt(state, from);
  const pools = new Set(old.map(({ pool }) => pool));
  const next = serversAt(state, to).filter(({ pool }) => pools.has(pool));
  const [oldName, newName] = [formatGivenAddress(from), formatGivenAddress(to)];
  if (old.length === 0)
    return `Nothing is left to do: no pool has ${oldName}. {haproxy_list_servers} shows the servers of a domain.`;
  const is = `${oldName} is in ${listed(old.map(placeText))}.`;
  if (next.length === 0)
    return `${is} Its pools do not have ${newName}. Call {haproxy_replace_server} again.`;
  const drained = old.some(({ server }) => server.state === 'drain');
  const back = drained
    ? `set ${oldName} to ready with {haproxy_set_server_state}, then remove ${newName}`
    : `remove ${newName}`;
  return (
    `Both servers are there: ${is} ${newName} is in ${listed(next.map(placeText))}. Call {haproxy_replace_server} with the ` +
    `same from and to to finish. To go back, ${back} with {haproxy_remove_server} where it was not before.`
  );
}

function placeText({ pool, slot, server: { state, weight } }: PlacedServer): string {
  return `${serverName(pool, slot)} (${state}${weight === 0 ? ', weight 0' : ''})`;
}

/** What the pools have after `undo`, as sentences with a space before each. */
export function undoneText(moves: readonly Move[], { removed, kept, restored, out }: Undone): string {
  const before = helperNames(moves.filter(({ added }) => !added));
  const sentences = [
    removed.length > 0 && 'The new server was removed again from the slots that this call had added.',
    kept.length > 0 &&
      `The new server stays in ${listed(helperNames(kept))}, because the old one is not in service there.`,
    before.length > 0 && `The new server was in ${listed(before)} before this call and stays there.`,
    restored.length > 0 &&
      `The old server was in drain in ${listed(restored.map(oldName))} and is ready again there.`,
    out.length === 0
      ? 'The old server is still in service where it was before.'
      : `The old server gets no new requests in ${listed(out.map(oldName))}: see its state with {haproxy_list_servers}.`,
  ];
  return sentences.flatMap((sentence) => (sentence === false ? [] : ` ${sentence}`)).join('');
}
