import { Injectable } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import { isSamePath } from '../lib/same-path.js';
import { canonicalIp } from '../model/ip-address.js';
import type { SentStep } from '../model/routing.js';
import { Settings } from '../settings/settings.js';
import { capabilitiesOf, type HaproxyCapabilities } from './runtime/capabilities.js';
import { type Command, isWord, runtimeCommand } from './runtime/command.js';
import { type HaproxyInfo, parseInfo } from './parsers/info.parser.js';
import { type MapEntry, parseMap, parseMapLookup, parseMapNames } from './parsers/map.parser.js';
import type { ProcessIdentity } from './runtime/process-identity.js';
import { checkReplies, isRejected, type PlannedCommand, type Reply } from './runtime/reply.js';
import { type LiveRouting, parseBackends, routingOf } from './runtime/runtime-routing.js';
import { RecentAddresses } from './runtime/recent-addresses.js';
import { RuntimeTransport } from './runtime/transport.js';
import { parseCliSockets, parseEnvironment } from './parsers/listeners.parser.js';
import type { RunningListeners } from './guard/listeners.js';
import { parseServersState, type ServerStateRow } from './parsers/server-state.parser.js';
import {
  type ServerStatus,
  type ServerStatusRow,
  statusRows,
  trackedBackends,
} from './runtime/server-status.js';
import { parseStat, STAT, type StatRow, type StatTypes } from './parsers/stat.parser.js';
import {
  type AddressChange,
  commandBatches,
  deletePool,
  deleteServer,
  NO_SUCH_BACKEND,
  publishPool,
  type Slot,
  type StepCommand,
} from './runtime/step-commands.js';
import { serverName, isPoolName, slotOf } from '../model/pool-name.js';

/** The longest time until HAProxy shows a new address. HAProxy normally needs less than a millisecond. */
const ADDRESS_CHANGE_LIMIT_MS = 2_000;
/** Each `show stat NAME` searches all backends. Above this many names, one `show stat` of all backends is faster. */
const MAX_STAT_QUERIES = 200;
/** Above this many pools, one `show servers state` of all backends is faster than one for each pool. */
const MAX_SERVERS_STATE_QUERIES = 20;
/** How long HAProxy may take to close idle connections to a server in maintenance. It normally needs a few milliseconds. */
const IDLE_CLOSE_MS = 50;
/** The longest `wait` inside HAProxy. It must be shorter than the idle limit of the transport. */
const MAX_WAIT_MS = 2_000;
const NO_SUCH_SERVER = /No such server/;
const NO_SUCH_MAP = /Unknown map identifier/;

/** A server that is DOWN, and why. */
export interface DownServerRow extends Slot {
  ip: string;
  http_port: number;
  checkStatus: number;
  checkResult: number;
}

/** The result of a plan: the deletions that HAProxy postponed, and the processes that ran the plan. */
export interface ApplyResult {
  /** Deleted servers that stay in maintenance ("parked") until their last connection ends. */
  parked: Slot[];
  /** Deleted pools that stay, without traffic, because they are still in use. */
  keptPools: string[];
  /** The servers of the pools that servers joined with `checkFirst`, as they are after the steps. */
  servers: ServerStateRow[];
  /** The processes that ran the commands. There are several if HAProxy was restarted or reloaded meanwhile. */
  processes: ProcessIdentity[];
}

/**
 * Typed operations on a running HAProxy. Each opens its own connection. The service remembers nothing about HAProxy, except
 * the name of the map, and which addresses changed in the last seconds.
 */
@Injectable()
export class HaproxyRuntimeService {
  readonly #transport: RuntimeTransport;
  readonly #recent = new RecentAddresses();
  /** The map file as haproxy.cfg names it. HAProxy compares names as text, so another path of the file is unknown to it. */
  #mapName: string;

  constructor(private readonly settings: Settings) {
    this.#transport = new RuntimeTransport(settings.runtime);
    this.#mapName = settings.files.map;
  }

  /**
   * Runs the steps in their order, except that pools are removed last. After an error, HAProxy may have run a part of
   * the steps: read the routing again.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async apply(steps: readonly SentStep[]): Promise<ApplyResult> {
    const rejectedDeletions: Slot[] = [];
    const processes: ProcessIdentity[] = [];
    let servers: ServerStateRow[] = [];
    const others = steps.filter((step) => step.op !== 'remove_pool');
    const joined = others.flatMap((step) => ('checkFirst' in step && step.checkFirst ? [step.pool] : []));
    const questions = joined.length === 0 ? [] : showServersState([...new Set(joined)]);
    for (const { commands, addressChanges } of commandBatches(others, this.#mapName)) {
      const { sent, replies } = await this.#send(withQuestions(commands, questions));
      processes.push(parseInfo(replies.at(-1)?.text ?? ''));
      servers = replies.slice(-1 - questions.length, -1).flatMap(({ text }) => parseServersState(text));
      for (const [index, { deletes }] of sent.entries()) {
        const reply = replies[index];
        if (deletes && reply && isRejected(reply)) rejectedDeletions.push(deletes);
      }
      if (addressChanges.length === 0) continue;
      this.#recent.note(addressChanges);
      await this.#waitForAddresses(addressChanges);
    }
    // The pools come last: a server that HAProxy still has keeps its pool in use.
    const parked = await this.#retryDeletions(rejectedDeletions);
    const pools = steps.filter((step) => step.op === 'remove_pool').map(({ pool }) => pool);
    return { parked, keptPools: await this.#deletePools(pools), servers, processes };
  }

  /** The names of the pools that HAProxy has, with or without servers. */
  async poolNames(): Promise<Set<string>> {
    return new Set((await this.backendNames()).filter(isPoolName));
  }

  /** Where its Runtime API listens, and its environment. Not in `readRouting`: it changes only with the process. */
  async listeners(): Promise<RunningListeners> {
    const [sockets, environment] = await this.#query([
      runtimeCommand`show cli sockets`,
      runtimeCommand`show env`,
    ]);
    return { sockets: parseCliSockets(sockets ?? ''), environment: parseEnvironment(environment ?? '') };
  }

  /** The names of all backends that HAProxy has. */
  async backendNames(): Promise<string[]> {
    const [text] = await this.#query([runtimeCommand`show backend`]);
    return parseBackends(text ?? '');
  }

  /**
   * Reads the whole routing. HAProxy rejects this if it has not loaded the map file from the settings.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async readRouting(): Promise<LiveRouting> {
    const [info, servers, map, backends] = await this.#readRoutingTexts();
    const process = parseInfo(info ?? '');
    const routing = routingOf(
      parseServersState(servers ?? ''),
      parseMap(map ?? ''),
      parseBackends(backends ?? ''),
    );
    return { ...routing, process, capabilities: capabilitiesOf(process) };
  }

  /** The first of these keys that the map in HAProxy has, with its value. Undefined if it has none. */
  async lookUp(keys: readonly string[]): Promise<{ key: string; pool: string } | undefined> {
    const texts = await this.#query(keys.map((key) => runtimeCommand`get map ${this.#mapName} ${key}`));
    for (const [index, text] of texts.entries()) {
      const pool = parseMapLookup(text);
      if (pool !== undefined) return { key: keys[index] ?? '', pool };
    }
    return undefined;
  }

  async #readRoutingTexts(): Promise<string[]> {
    const plannedWith = (acceptedRejection?: RegExp): PlannedCommand[] => [
      { command: runtimeCommand`show info` },
      { command: runtimeCommand`show servers state` },
      { command: runtimeCommand`show map ${this.#mapName}`, ...(acceptedRejection && { acceptedRejection }) },
      { command: runtimeCommand`show backend` },
    ];
    let replies = await this.#run(plannedWith(NO_SUCH_MAP));
    if (replies.some((reply) => isRejected(reply))) {
      await this.#findMapName();
      replies = await this.#run(plannedWith());
    }
    return replies.map(({ text }) => text);
  }

  /** Finds the map by the path of its file. If HAProxy does not have it, the next command with the map is rejected. */
  async #findMapName(): Promise<void> {
    const { map } = this.settings.files;
    const [text] = await this.#query([runtimeCommand`show map`]);
    const name = parseMapNames(text ?? '').find((found) => isWord(found) && isSamePath(found, map));
    this.#mapName = name ?? map;
  }

  /** Deletes exactly these map entries. Other entries with the same key stay (see `RuntimeRouting.duplicates`). */
  async deleteEntries(entries: readonly MapEntry[]): Promise<void> {
    const file = this.#mapName;
    await this.#run(entries.map(({ ref }) => ({ command: runtimeCommand`del map ${file} #${ref}` })));
  }

  async info(): Promise<HaproxyInfo> {
    const [text] = await this.#query([runtimeCommand`show info`]);
    return parseInfo(text ?? '');
  }

  async capabilities(): Promise<HaproxyCapabilities> {
    return capabilitiesOf(await this.info());
  }

  /**
   * The version of the rules in suite.cfg that the worker has loaded; undefined if HAProxy was started without suite.cfg.
   *
   * @throws AppError haproxy_unavailable
   */
  async loadedRules(): Promise<string | undefined> {
    const [reply] = await this.#run([
      { command: runtimeCommand`get var proc.suite_rules`, acceptedRejection: /./ },
    ]);
    return /value=<(?<version>[\w-]+)>/.exec(reply?.text ?? '')?.groups?.['version'];
  }

  /** The servers of these pools. A pool that HAProxy does not have has none. */
  async serversOf(pools: readonly string[]): Promise<ServerStateRow[]> {
    const replies = await this.#run(
      showServersState(pools).map((command) => ({ command, acceptedRejection: NO_SUCH_BACKEND })),
    );
    return replies.flatMap((reply) => (isRejected(reply) ? [] : parseServersState(reply.text)));
  }

  /** The servers of pools that get no requests because of their health check. */
  async downServers(): Promise<DownServerRow[]> {
    const rows = parseServersState(await this.serversState());
    return rows.flatMap(({ backend: pool, server, address, port, down }) => {
      const slot = down && isPoolName(pool) ? slotOf(pool, server) : undefined;
      const ip = canonicalIp(address);
      return down && slot !== undefined && ip !== undefined
        ? [{ pool, slot, ip, http_port: port, ...down }]
        : [];
    });
  }

  /** The text of `show servers state`, in the format of a `server-state-file`. */
  async serversState(): Promise<string> {
    const [text] = await this.#query([runtimeCommand`show servers state`]);
    return `${text}\n`;
  }

  /** The rows of `show stat`. A large HAProxy answers with several megabytes. */
  async stats(types: StatTypes = STAT.all): Promise<StatRow[]> {
    const [text] = await this.#query([runtimeCommand`show stat -1 ${types} -1`]);
    return this.#recent.withoutStaleChecks(parseStat(text ?? ''));
  }

  /** The rows of these backends. A backend that HAProxy does not have has no rows. */
  async statsOf(
    backends: readonly string[],
    types: StatTypes = STAT.backends | STAT.servers,
  ): Promise<StatRow[]> {
    if (backends.length > MAX_STAT_QUERIES) {
      const wanted = new Set(backends);
      return (await this.stats(types)).filter(({ proxy }) => wanted.has(proxy));
    }
    const replies = await this.#run(
      backends.map((name) => ({
        command: runtimeCommand`show stat ${name} ${types} -1`,
        acceptedRejection: NO_SUCH_BACKEND,
      })),
    );
    const rows = replies.flatMap((reply) => (isRejected(reply) ? [] : parseStat(reply.text)));
    return this.#recent.withoutStaleChecks(rows);
  }

  /** The current status of the suite's servers: of these pools if given, with this status if given. */
  async serverStatuses(pools?: readonly string[], status?: ServerStatus): Promise<ServerStatusRow[]> {
    const rows = await (pools ? this.statsOf(pools, STAT.servers) : this.stats(STAT.servers));
    return statusRows(rows, status, await this.trackedRows(rows));
  }

  /** The rows of backends whose servers are tracked by these rows (`track`). Only an operator declares such servers. */
  async trackedRows(rows: readonly StatRow[]): Promise<StatRow[]> {
    const found: StatRow[] = [];
    let missing = trackedBackends(rows);
    while (missing.length > 0) {
      const read = await this.statsOf(missing, STAT.servers);
      if (read.length === 0) break;
      found.push(...read);
      missing = trackedBackends([...rows, ...found]);
    }
    return found;
  }

  /** Deletes a parked server. False while it has connections; true also if it does not exist any more. */
  async deleteParked(pool: string, slot: number): Promise<boolean> {
    const planned = deleteServer({ pool, slot });
    const accepted = new RegExp(`${planned.acceptedRejection?.source}|${NO_SUCH_SERVER.source}`, 'i');
    const [reply] = await this.#run([{ ...planned, acceptedRejection: accepted }]);
    return reply !== undefined && (!isRejected(reply) || NO_SUCH_SERVER.test(reply.text));
  }

  /**
   * Waits until a server in maintenance has no connections, then deletes it. Waits at most `seconds`. True if the
   * server is deleted.
   */
  async waitRemovable(pool: string, slot: number, seconds: number): Promise<boolean> {
    const deadline = performance.now() + seconds * 1_000;
    for (;;) {
      const waitMs = Math.max(1, Math.min(MAX_WAIT_MS, Math.ceil(deadline - performance.now())));
      await this.#transport.run([waitUntilRemovable({ pool, slot }, waitMs)]);
      if (await this.deleteParked(pool, slot)) return true;
      if (performance.now() >= deadline) return false;
    }
  }

  /**
   * Returns the servers that HAProxy does not delete at the second attempt either. The second attempt is needed because
   * other threads close the idle connections of a server shortly after it goes into maintenance.
   */
  async #retryDeletions(slots: readonly Slot[]): Promise<Slot[]> {
    const [first] = slots;
    if (!first) return [];
    const replies = await this.#run([
      { command: waitUntilRemovable(first, IDLE_CLOSE_MS), acceptedRejection: /./ },
      ...slots.map((slot) => deleteServer(slot)),
    ]);
    return slots.filter((_, index) => {
      const reply = replies[index + 1];
      return !reply || isRejected(reply);
    });
  }

  /** Returns the pools that HAProxy does not delete, and publishes them again, so that they can be used again. */
  async #deletePools(pools: readonly string[]): Promise<string[]> {
    if (pools.length === 0) return [];
    const commands = pools.map((pool) => deletePool(pool));
    const replies = await this.#run(commands.flat());
    const commandsPerPool = replies.length / pools.length;
    const kept = pools.filter((_, index) => {
      const reply = replies[(index + 1) * commandsPerPool - 1];
      return reply !== undefined && isRejected(reply) && !NO_SUCH_BACKEND.test(reply.text);
    });
    if (kept.length > 0) await this.#run(kept.map((pool) => publishPool(pool)));
    return kept;
  }

  async #waitForAddresses(expected: readonly AddressChange[]): Promise<void> {
    const deadline = performance.now() + ADDRESS_CHANGE_LIMIT_MS;
    const pools = [...new Set(expected.map(({ pool }) => pool))];
    // A task inside HAProxy changes the addresses. `wait` lets it run before the addresses are read.
    const commands = [runtimeCommand`wait 1ms`, ...showServersState(pools)];
    for (;;) {
      const texts = await this.#query(commands);
      const rows = new Map<string, ServerStateRow>();
      for (const text of texts.slice(1)) for (const row of parseServersState(text)) rows.set(row.server, row);
      const missing = expected.find(({ pool, slot, server }) => {
        const row = rows.get(serverName(pool, slot));
        return !row || canonicalIp(row.address) !== server.ip || row.port !== server.http_port;
      });
      if (!missing) return;
      if (performance.now() > deadline)
        throw new AppError(
          'haproxy_rejected',
          `HAProxy accepted a new address for ${serverName(missing.pool, missing.slot)} but does not show it after ${ADDRESS_CHANGE_LIMIT_MS} ms. Try again.`,
        );
    }
  }

  /** Runs commands that HAProxy must not reject, and returns the text of each reply. */
  async #query(commands: readonly Command[]): Promise<string[]> {
    const replies = await this.#run(commands.map((command) => ({ command })));
    return replies.map((reply) => reply.text);
  }

  async #run(planned: readonly PlannedCommand[]): Promise<Reply[]> {
    return (await this.#send(planned)).replies;
  }

  /** Runs the commands on one connection and checks every reply. The commands are generated while they are sent. */
  async #send(planned: Iterable<StepCommand>): Promise<{ sent: StepCommand[]; replies: Reply[] }> {
    const sent: StepCommand[] = [];
    try {
      const replies = await this.#transport.run(collect(planned, sent));
      checkReplies(sent, replies);
      return { sent, replies };
    } catch (error) {
      metrics.runtimeError(error);
      throw error;
    }
  }
}

/** Generates the commands, and appends each planned command to `sent`. */
function* collect(planned: Iterable<StepCommand>, sent: StepCommand[]): Generator<Command, void> {
  for (const step of planned) {
    sent.push(step);
    yield step.command;
  }
}

/** Appends `show info`, which identifies the process. A second connection could reach another worker. */
function* withQuestions(
  planned: Iterable<StepCommand>,
  questions: readonly Command[],
): Generator<StepCommand, void> {
  yield* planned;
  for (const command of questions) yield { command };
  yield { command: runtimeCommand`show info` };
}

/** HAProxy answers when it can delete the server, or after `ms` milliseconds. */
function waitUntilRemovable({ pool, slot }: Slot, ms: number): Command {
  return runtimeCommand`wait ${ms}ms srv-removable ${pool}/${serverName(pool, slot)}`;
}

function showServersState(pools: readonly string[]): Command[] {
  return pools.length > MAX_SERVERS_STATE_QUERIES
    ? [runtimeCommand`show servers state`]
    : pools.map((pool) => runtimeCommand`show servers state ${pool}`);
}
