import { groupBy } from '../../lib/group-by.js';
import { serverName } from '../../model/names/pool-name.js';
import type { SentStep, Step } from '../../model/routing.js';
import { serverAddress, type ServerSpec, type ServerState } from '../../model/server.js';
import { SERVER_KEYWORDS } from '../config/server-keywords.js';
import { SITE_MAPS, type SiteEntry, type SiteMap } from '../../model/sites/site-maps.js';
import { type Command, Keywords, mapPayload, MapValue, runtimeCommand } from './command.js';
import type { PlannedCommand } from './reply.js';

export interface Slot {
  pool: string;
  slot: number;
}

/** The keywords of a server that is added. */
export type KeywordsOf = (server: Slot) => readonly string[];

/** A command of a step. */
export interface StepCommand extends PlannedCommand {
  /** The server that the command deletes. If HAProxy rejects that, the server stays parked in maintenance. */
  readonly deletes?: Slot;
}

/** A new address of an existing server. HAProxy applies it shortly after its reply. */
export interface AddressChange extends Slot {
  server: ServerSpec;
}

/**
 * Commands for one connection. If `addressChanges` is not empty, run the next batch only when HAProxy shows these
 * addresses, so that no server gets requests at its previous address.
 */
export interface CommandBatch {
  /** Generated while it is iterated; it can be iterated only once. */
  readonly commands: Iterable<StepCommand>;
  readonly addressChanges: readonly AddressChange[];
}

/** `set server … addr` answers with a warning ([4]) for both success and failure. These texts mean success. */
const ADDRESS_SET = /\b(?:IP|port) changed from|nothing changed|no need to change/;
const NO_CHECK = /Health check was not configured/;
/** The server has connections, or the configuration refers to it. It stays in maintenance, and its connections continue. */
const STILL_IN_USE = /Server still has connections|cannot be removed at runtime/;

export const NO_SUCH_BACKEND = /No such (?:proxy|backend)/;
/** How long HAProxy may take to release a pool after its last request. It normally needs a few milliseconds. */
const POOL_RELEASE_MS = 50;

/** The size of a payload of map entries that fits tune.bufsize (16,384 by default) together with its command. */
const MAP_PAYLOAD_BYTES = 14_000;

type PutServer = Extract<Step, { op: 'put_server' }>;
type AddDomains = Extract<Step, { op: 'add_domains' }>;
type AddSiteEntries = Extract<Step, { op: 'add_site_entries' }>;

/** The maps of the site options, as HAProxy names them. */
export type SiteFiles = Readonly<Record<SiteMap, string>>;

/** For a caller whose steps have no site options. */
const NO_SITE_FILES = Object.freeze(
  Object.fromEntries(SITE_MAPS.map((map) => [map, ''])) as Record<SiteMap, string>,
);

interface MapFiles {
  mapFile: string;
  siteFiles: SiteFiles;
}

/** The commands for a plan. Pure; keeps the order of the steps. */
export function* commandBatches(
  steps: readonly SentStep[],
  mapFile: string,
  keywordsOf: KeywordsOf = () => SERVER_KEYWORDS,
  siteFiles: SiteFiles = NO_SITE_FILES,
): Generator<CommandBatch, void> {
  const maps = { mapFile, siteFiles };
  let readdressed: readonly PutServer[] = [];
  let start = 0;
  while (start < steps.length || readdressed.length > 0) {
    const firstChange = indexFrom(steps, start, isAddressChange);
    const end = indexFrom(steps, firstChange, (step) => !isAddressChange(step));
    const addressChanges = steps.slice(firstChange, end).filter(isAddressChange);
    yield {
      commands: batchCommands(readdressed, steps.slice(start, firstChange), addressChanges, maps, keywordsOf),
      addressChanges,
    };
    readdressed = addressChanges;
    start = end;
  }
}

function isAddressChange(step: SentStep): step is PutServer {
  return step.op === 'put_server' && step.exists;
}

/** The index of the first match at or after `start`; `steps.length` if there is none. */
function indexFrom(steps: readonly SentStep[], start: number, matches: (step: SentStep) => boolean): number {
  let index = start;
  for (; index < steps.length; index += 1) {
    const step = steps[index];
    if (step && matches(step)) break;
  }
  return index;
}

/** `readdressed` are the servers whose new address the previous batch has set. */
function* batchCommands(
  readdressed: readonly PutServer[],
  steps: readonly SentStep[],
  addressChanges: readonly PutServer[],
  maps: MapFiles,
  keywordsOf: KeywordsOf,
): Generator<StepCommand, void> {
  for (const step of readdressed) yield* enableReaddressedServer(step);
  for (const step of steps)
    if (step.op === 'add_domains') yield* addMapEntries(step.keys, step.pools, maps.mapFile);
    else if (step.op === 'add_site_entries') yield* addSiteEntries(step.entries, maps.siteFiles);
    else yield* stepCommands(step, maps, keywordsOf);
  for (const step of addressChanges) yield* setServerAddress(step);
}

function stepCommands(
  step: Exclude<SentStep, AddDomains | AddSiteEntries>,
  { mapFile, siteFiles }: MapFiles,
  keywordsOf: KeywordsOf,
): StepCommand[] {
  switch (step.op) {
    case 'add_pool':
      return addPool(step.pool);
    case 'remove_pool':
      return deletePool(step.pool);
    case 'put_server':
      return addServer(step, keywordsOf(step));
    case 'set_weight':
      return [setWeight(step, step.weight)];
    case 'set_state':
      return step.checkFirst ? becomeReadyAfterCheck(step) : [setState(step, step.state)];
    case 'assume_up':
      return [setHealth(step, 'up')];
    case 'remove_server':
      return [...disableAgent(step, keywordsOf(step)), setState(step, 'maint'), deleteServer(step)];
    case 'set_domain':
      return [{ command: runtimeCommand`set map ${mapFile} ${step.key} ${step.pool}` }];
    case 'set_site_entry': {
      const { map, key, value } = step.entry;
      return [{ command: runtimeCommand`set map ${siteFiles[map]} ${key} ${new MapValue(value)}` }];
    }
    case 'del_site_entry':
      return deleteMapKey(step.entry.key, siteFiles[step.entry.map]);
    default:
      return deleteMapKey(step.key, mapFile);
  }
}

/**
 * Deletes twice, because another program may have added the key a second time. HAProxy 3.4 deletes only the first of
 * two entries with the same key, and the second entry would then be in effect.
 */
function deleteMapKey(key: string, mapFile: string): PlannedCommand[] {
  const command = runtimeCommand`del map ${mapFile} ${key}`;
  return [{ command }, { command, acceptedRejection: /Key not found/ }];
}

/**
 * The command takes only the mode. All other settings of a dynamic pool, `balance` included, come from the section
 * "defaults pools". HAProxy routes no requests to a backend before it is published.
 */
function addPool(pool: string): PlannedCommand[] {
  return [{ command: runtimeCommand`add backend ${pool} from pools mode http` }, publishPool(pool)];
}

/** The deletion is the last command. HAProxy rejects it while a server in the pool has connections. */
export function deletePool(pool: string): PlannedCommand[] {
  return [
    { command: runtimeCommand`unpublish backend ${pool}`, acceptedRejection: NO_SUCH_BACKEND },
    { command: runtimeCommand`wait ${POOL_RELEASE_MS}ms be-removable ${pool}`, acceptedRejection: /./ },
    { command: runtimeCommand`del backend ${pool}`, acceptedRejection: /./ },
  ];
}

export function publishPool(pool: string): PlannedCommand {
  return { command: runtimeCommand`publish backend ${pool}` };
}

/** HAProxy adds a server in maintenance and with its checks disabled. */
function addServer(step: PutServer, keywords: readonly string[]): PlannedCommand[] {
  const { weight, state } = step.server;
  const [pool, name, address] = [step.pool, serverName(step.pool, step.slot), serverAddress(step.server)];
  const command = runtimeCommand`add server ${pool}/${name} ${address} ${new Keywords(['weight', String(weight), ...keywords])}`;
  const hasCheck = keywords.includes('check');
  const checks = [
    ...(hasCheck ? [enableHealthCheck(step)] : []),
    ...(keywords.includes('agent-check') ? [{ command: runtimeCommand`enable agent ${pool}/${name}` }] : []),
  ];
  // Without a health check, a server that waits for its first check would stay DOWN.
  const join = step.checkFirst && hasCheck ? becomeReadyAfterCheck(step) : [setState(step, state)];
  return [{ command }, ...checks, ...join];
}

/** An agent check could put a server that is being removed back into service. */
function disableAgent({ pool, slot }: Slot, keywords: readonly string[]): PlannedCommand[] {
  if (!keywords.includes('agent-check')) return [];
  const command = runtimeCommand`disable agent ${pool}/${serverName(pool, slot)}`;
  return [{ command, acceptedRejection: /./ }];
}

/** The first part of an address change. If the new state is not `ready`, the server gets it before the new address. */
function setServerAddress(step: PutServer): PlannedCommand[] {
  const { ip, http_port: port, state } = step.server;
  const stop = state === 'ready' ? [] : [setState(step, state)];
  const command = runtimeCommand`set server ${step.pool}/${serverName(step.pool, step.slot)} addr ${ip} port ${port}`;
  return [...stop, { command, successWarning: ADDRESS_SET }];
}

/** The second part of an address change, after HAProxy shows the new address. The state `ready` is set last. */
function enableReaddressedServer(step: PutServer): PlannedCommand[] {
  const { weight, state } = step.server;
  return [
    setWeight(step, weight),
    // A server that the operator declared may have no check, or `check disabled`.
    { ...enableHealthCheck(step), acceptedRejection: NO_CHECK },
    ...(state === 'ready' ? (step.checkFirst ? becomeReadyAfterCheck(step) : [setState(step, state)]) : []),
  ];
}

function enableHealthCheck({ pool, slot }: Slot): PlannedCommand {
  return { command: runtimeCommand`enable health ${pool}/${serverName(pool, slot)}` };
}

/** An absolute weight, so the initial weight of the server (also 0) has no effect on the result. */
function setWeight({ pool, slot }: Slot, weight: number): PlannedCommand {
  return { command: runtimeCommand`set server ${pool}/${serverName(pool, slot)} weight ${weight}` };
}

/**
 * The server becomes `ready` and DOWN, and gets requests after `rise` passed checks. HAProxy sets a server UP when it
 * leaves maintenance, so the server leaves it as drained, which gets no requests either. (3.0 has no `init-state`.)
 */
function becomeReadyAfterCheck(slot: Slot): PlannedCommand[] {
  return [setState(slot, 'drain'), setHealth(slot, 'down'), setState(slot, 'ready')];
}

function setHealth({ pool, slot }: Slot, health: 'up' | 'down'): PlannedCommand {
  return { command: runtimeCommand`set server ${pool}/${serverName(pool, slot)} health ${health}` };
}

function setState({ pool, slot }: Slot, state: ServerState): PlannedCommand {
  return { command: runtimeCommand`set server ${pool}/${serverName(pool, slot)} state ${state}` };
}

export function deleteServer({ pool, slot }: Slot): StepCommand {
  return {
    command: runtimeCommand`del server ${pool}/${serverName(pool, slot)}`,
    acceptedRejection: STILL_IN_USE,
    deletes: { pool, slot },
  };
}

/** Puts many entries into each command, which makes a restore of 100,000 names fast. */
function* addMapEntries(
  keys: readonly string[],
  values: readonly string[],
  mapFile: string,
): Generator<PlannedCommand, void> {
  let start = 0;
  let bytes = 0;
  for (const [index, key] of keys.entries()) {
    const entryBytes = key.length + (values[index]?.length ?? 0) + 2;
    if (index > start && bytes + entryBytes > MAP_PAYLOAD_BYTES) {
      yield addMapCommand(keys.slice(start, index), values.slice(start, index), mapFile);
      start = index;
      bytes = 0;
    }
    bytes += entryBytes;
  }
  yield addMapCommand(keys.slice(start), values.slice(start), mapFile);
}

function addMapCommand(keys: readonly string[], values: readonly string[], mapFile: string): PlannedCommand {
  const [key, second] = keys;
  const [value] = values;
  if (key !== undefined && value !== undefined && second === undefined)
    return { command: runtimeCommand`add map ${mapFile} ${key} ${new MapValue(value)}` };
  return { command: runtimeCommand`add map ${mapFile}`.with(mapPayload(keys, values)) };
}

function* addSiteEntries(entries: readonly SiteEntry[], files: SiteFiles): Generator<PlannedCommand, void> {
  for (const [map, added] of groupBy(entries, (entry) => entry.map))
    yield* addMapEntries(
      added.map(({ key }) => key),
      added.map(({ value }) => value),
      files[map],
    );
}

/** Above this many pools, one `show servers state` of all backends is faster than one for each pool. */
const MAX_SERVERS_STATE_QUERIES = 20;

/** The commands that read the servers of these pools, and perhaps those of others. */
export function showServersState(pools: readonly string[]): Command[] {
  return pools.length > MAX_SERVERS_STATE_QUERIES
    ? [runtimeCommand`show servers state`]
    : pools.map((pool) => runtimeCommand`show servers state ${pool}`);
}
