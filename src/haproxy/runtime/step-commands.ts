import type { Step } from '../../model/routing.js';
import { type Command, mapPayload, runtimeCommand } from './command.js';
import { SERVER_KEYWORDS } from '../config/server-keywords.js';
import { serverName } from '../../model/pool-name.js';
import { serverAddress, type ServerSpec, type ServerState } from '../../model/server.js';

/** A command of a plan, and what its reply may be. */
export interface PlannedCommand {
  readonly command: Command;
  /** A warning ([4]) of this form is success; any other is a refusal. */
  readonly goodWarning?: RegExp;
  /** A refusal of this form is success. */
  readonly goodRefusal?: RegExp;
  /** A refusal by `STILL_IN_USE` means that this slot stays parked in maintenance. */
  readonly removes?: Slot;
}

export interface Slot {
  pool: string;
  slot: number;
}

/** A server whose new address HAProxy takes over a moment after it has answered. */
export interface Readdressed extends Slot {
  server: ServerSpec;
}

/**
 * Commands for one connection. When `readdressed` is not empty, the next round waits until HAProxy shows those
 * addresses, so that no server is put in service at the address it had before.
 */
export interface Round {
  /** Made as they are asked for, once. */
  readonly commands: Iterable<PlannedCommand>;
  readonly readdressed: readonly Readdressed[];
}

/** `set server … addr` answers at the warning level, success and failure alike. */
const ADDRESS_SET = /\b(?:IP|port) changed from|nothing changed|no need to change/;
const NO_CHECK = /Health check was not configured/;
/** Its connections last, or the configuration refers to it: then it stays in maintenance. Nothing is killed. */
export const STILL_IN_USE = /Server still has connections|cannot be removed at runtime/;

export const NO_SUCH_BACKEND = /No such (?:proxy|backend)/;
/** How long requests that were just answered may keep hold of their pool; HAProxy needs a few milliseconds. */
const POOL_WAIT_MS = 50;

/** Map entries that fit tune.bufsize together with the command. */
const PIECE_BYTES = 14_000;

type PutServer = Extract<Step, { op: 'put_server' }>;
type AddDomains = Extract<Step, { op: 'add_domains' }>;

/** What HAProxy is told for a plan. Pure; the order of the steps is kept. */
export function* roundsOf(steps: readonly Step[], mapFile: string): Generator<Round, void> {
  let serving: readonly PutServer[] = [];
  let start = 0;
  while (start < steps.length || serving.length > 0) {
    const first = indexFrom(steps, start, isReaddress);
    const end = indexFrom(steps, first, (step) => !isReaddress(step));
    const readdressed = steps.slice(first, end).filter(isReaddress);
    yield {
      commands: commandsOfRound(serving, steps.slice(start, first), readdressed, mapFile),
      readdressed,
    };
    serving = readdressed;
    start = end;
  }
}

function isReaddress(step: Step): step is PutServer {
  return step.op === 'put_server' && step.exists;
}

/** Of the first such step at `start` or after it; the length where there is none. */
function indexFrom(steps: readonly Step[], start: number, isMeant: (step: Step) => boolean): number {
  let index = start;
  for (; index < steps.length; index += 1) {
    const step = steps[index];
    if (step && isMeant(step)) break;
  }
  return index;
}

function* commandsOfRound(
  serving: readonly PutServer[],
  steps: readonly Step[],
  readdressed: readonly PutServer[],
  mapFile: string,
): Generator<PlannedCommand, void> {
  for (const put of serving) yield* serviceCommands(put);
  for (const step of steps)
    yield* step.op === 'add_domains' ? addDomains(step, mapFile) : commandsOf(step, mapFile);
  for (const put of readdressed) yield* addressCommands(put);
}

function commandsOf(step: Exclude<Step, AddDomains>, mapFile: string): PlannedCommand[] {
  switch (step.op) {
    case 'add_pool':
      return addPool(step.pool);
    case 'remove_pool':
      return removePool(step.pool);
    case 'put_server':
      return newServer(step);
    case 'set_weight':
      return [weightCommand(step, step.weight)];
    case 'set_state':
      return [stateCommand(step, step.state)];
    case 'remove_server':
      return [stateCommand(step, 'maint'), deleteCommand(step)];
    case 'set_domain':
      return [{ command: runtimeCommand`set map ${mapFile} ${step.key} ${step.pool}` }];
    default:
      return deleteName(step.key, mapFile);
  }
}

/** Twice: of two entries of a key, which somebody else may have made, 3.4 deletes only the first, and the other counts then. */
function deleteName(key: string, mapFile: string): PlannedCommand[] {
  const command = runtimeCommand`del map ${mapFile} ${key}`;
  return [{ command }, { command, goodRefusal: /Key not found/ }];
}

/**
 * Everything else about a pool made at run time, its `balance` as well, comes from the section "defaults pools": the
 * command takes no more than the mode. It is not routed to before it is published.
 */
function addPool(pool: string): PlannedCommand[] {
  return [
    { command: runtimeCommand`add backend ${pool} from pools mode http` },
    { command: runtimeCommand`publish backend ${pool}` },
  ];
}

/** Deletion comes last; it is refused, and the pool stays, while a server in it has connections. */
export function removePool(pool: string): PlannedCommand[] {
  return [
    { command: runtimeCommand`unpublish backend ${pool}`, goodRefusal: NO_SUCH_BACKEND },
    { command: runtimeCommand`wait ${POOL_WAIT_MS}ms be-removable ${pool}`, goodRefusal: /./ },
    { command: runtimeCommand`del backend ${pool}`, goodRefusal: /./ },
  ];
}

export function publishPool(pool: string): PlannedCommand {
  return { command: runtimeCommand`publish backend ${pool}` };
}

/** A server made at run time is in maintenance with its checks off until it is told otherwise. */
function newServer(step: PutServer): PlannedCommand[] {
  const { server } = step;
  const address = serverAddress(server);
  const [pool, name] = [step.pool, serverName(step.pool, step.slot)];
  const made = addServer(pool, name, address, server.weight);
  return [{ command: made }, healthCommand(step), stateCommand(step, server.state)];
}

function addServer(pool: string, name: string, address: string, weight: number): Command {
  return runtimeCommand`add server ${pool}/${name} ${address} weight ${weight} ${SERVER_KEYWORDS}`;
}

/** First half of re-addressing. A server that is not to serve stops before anything else about it changes. */
function addressCommands(step: PutServer): PlannedCommand[] {
  const { ip, http_port: port, state } = step.server;
  const stop = state === 'ready' ? [] : [stateCommand(step, state)];
  const command = runtimeCommand`set server ${step.pool}/${serverName(step.pool, step.slot)} addr ${ip} port ${port}`;
  return [...stop, { command, goodWarning: ADDRESS_SET }];
}

/** Second half, once the address is in place: serving comes last. */
function serviceCommands(step: PutServer): PlannedCommand[] {
  const { weight, state } = step.server;
  return [
    weightCommand(step, weight),
    // An operator's slot may have no check at all, or one declared `check disabled`.
    { ...healthCommand(step), goodRefusal: NO_CHECK },
    ...(state === 'ready' ? [stateCommand(step, state)] : []),
  ];
}

function healthCommand({ pool, slot }: Slot): PlannedCommand {
  return { command: runtimeCommand`enable health ${pool}/${serverName(pool, slot)}` };
}

/** Absolute, whatever weight the server was made with (0 included). */
function weightCommand({ pool, slot }: Slot, weight: number): PlannedCommand {
  return { command: runtimeCommand`set server ${pool}/${serverName(pool, slot)} weight ${weight}` };
}

export function stateCommand({ pool, slot }: Slot, state: ServerState): PlannedCommand {
  return { command: runtimeCommand`set server ${pool}/${serverName(pool, slot)} state ${state}` };
}

export function deleteCommand({ pool, slot }: Slot): PlannedCommand {
  return {
    command: runtimeCommand`del server ${pool}/${serverName(pool, slot)}`,
    goodRefusal: STILL_IN_USE,
    removes: { pool, slot },
  };
}

/** Names share commands, which is what makes a restore of 100,000 names fast. */
function* addDomains({ keys, pools }: AddDomains, mapFile: string): Generator<PlannedCommand, void> {
  let start = 0;
  let bytes = 0;
  for (const [index, key] of keys.entries()) {
    const more = key.length + (pools[index]?.length ?? 0) + 2;
    if (index > start && bytes + more > PIECE_BYTES) {
      yield addNames(keys.slice(start, index), pools.slice(start, index), mapFile);
      start = index;
      bytes = 0;
    }
    bytes += more;
  }
  yield addNames(keys.slice(start), pools.slice(start), mapFile);
}

function addNames(keys: readonly string[], pools: readonly string[], mapFile: string): PlannedCommand {
  const [key, second] = keys;
  const [pool] = pools;
  if (key !== undefined && pool !== undefined && second === undefined)
    return { command: runtimeCommand`add map ${mapFile} ${key} ${pool}` };
  return { command: runtimeCommand`add map ${mapFile}`.with(mapPayload(keys, pools)) };
}
