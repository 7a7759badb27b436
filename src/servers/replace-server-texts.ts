import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { isUsed, type ServerStatus, type ServerStatusRow } from '../haproxy/runtime/server-status.js';
import { serverName } from '../model/names/pool-name.js';
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

/** What HAProxy has of the old server at one moment, in all backends and all workers. */
export interface OldServerView {
  /** The servers with its address in the current worker, also in backends of the operator. */
  places: readonly OldServerPlace[];
  /** Why an old worker may still send it requests; undefined if none can. */
  oldWorkers: string | undefined;
}

export interface OldServerPlace {
  /** `pool_1_1`, or `backend/server` in a backend of the operator. */
  name: string;
  status: ServerStatus;
  weight: number;
  connections: number;
}

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

/** Whether the old server can be stopped, and why not. */
export function oldServerText({ places, oldWorkers }: OldServerView): string {
  const used = places.filter(({ status, weight }) => isUsed(status, weight));
  const unused = places.filter((place) => !used.includes(place));
  const open = unused.filter(({ connections }) => connections > 0);
  const count = open.reduce((sum, { connections }) => sum + connections, 0);
  const reasons = [
    used.length > 0 && `HAProxy sends requests to it in ${listed(used.map(statusText))}.`,
    open.length > 0 && `HAProxy has ${count} connection(s) to it in ${listed(open.map(statusText))}.`,
    oldWorkers,
  ].filter((reason) => typeof reason === 'string');
  if (reasons.length > 0) return `Keep the old server running: ${reasons.join(' ')}`;
  if (unused.length > 0)
    return `The old server is idle. HAProxy still has it in ${listed(unused.map(statusText))}, and sends no requests to it.`;
  return 'No worker of HAProxy uses the old server any more. It is idle and can be stopped.';
}

function statusText({ name, status, weight }: OldServerPlace): string {
  return `${name} (${status}${weight === 0 && status !== 'DRAIN' && status !== 'MAINT' ? ', weight 0' : ''})`;
}

/**
 * Where the old server gets requests after `undo`, of the pools in which the new one was to take them over. Sentences with a
 * space before each.
 */
export function oldServiceText(moves: readonly Move[], { places }: Pick<OldServerView, 'places'>): string {
  const known = new Map(places.map((place) => [place.name, place]));
  const [serving, others] = [[] as string[], [] as string[]];
  for (const move of moves) {
    if (move.helper === undefined) continue;
    const name = oldName(move);
    const place = known.get(name);
    if (place && isUsed(place.status, place.weight)) serving.push(name);
    else others.push(place ? statusText(place) : `${name} (HAProxy does not have it there)`);
  }
  return (
    (serving.length > 0 ? ` The old server is in service in ${listed(serving)}.` : '') +
    (others.length > 0 ? ` The old server gets no requests in ${listed(others)}.` : '')
  );
}

/**
 * What a replacement that did not end has left in the saved state, and what to call. HAProxy may not answer when this is
 * asked for: after an error of HAProxy, or when the suite starts.
 */
export function leftText(state: StateReader, from: GivenAddress, to: GivenAddress): string {
  const old = serversAt(state, from);
  const pools = new Set(old.map(({ pool }) => pool));
  const next = serversAt(state, to).filter(({ pool }) => pools.has(pool));
  const [oldName, newName] = [formatGivenAddress(from), formatGivenAddress(to)];
  if (old.length === 0)
    return `Nothing is left to do: the saved state has ${oldName} in no pool. {haproxy_list_servers} shows the servers of a domain.`;
  const is = `${oldName} in ${listed(old.map(placeText))}`;
  if (next.length === 0)
    return `The saved state has ${is}. Its pools do not have ${newName}. Call {haproxy_replace_server} again.`;
  const drained = old.some(({ server }) => server.state === 'drain');
  const back = drained
    ? `set ${oldName} to ready with {haproxy_set_server_state}, then remove ${newName}`
    : `remove ${newName}`;
  return (
    `The saved state has both servers: ${is}, and ${newName} in ${listed(next.map(placeText))}. Call {haproxy_replace_server} with the ` +
    `same from and to to finish. To go back, ${back} with {haproxy_remove_server} where it was not before.`
  );
}

function placeText({ pool, slot, server: { state, weight } }: PlacedServer): string {
  return `${serverName(pool, slot)} (${state}${weight === 0 ? ', weight 0' : ''})`;
}

/** What `undo` changed, as sentences with a space before each. */
export function undoneText(moves: readonly Move[], { removed, kept, restored }: Undone): string {
  const before = helperNames(moves.filter(({ added }) => !added));
  const sentences = [
    removed.length > 0 && 'The new server was removed again from the slots that this call had added.',
    kept.length > 0 &&
      `The new server stays in ${listed(helperNames(kept))}, because another call took the old one out of service there.`,
    before.length > 0 && `The new server was in ${listed(before)} before this call and stays there.`,
    restored.length > 0 &&
      `The old server was in drain in ${listed(restored.map(oldName))} and was set to ready again.`,
  ];
  return sentences.flatMap((sentence) => (sentence === false ? [] : ` ${sentence}`)).join('');
}
