import { Injectable } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import { canonicalIp } from '../model/ip-address.js';
import type { Step } from '../model/routing.js';
import { Settings } from '../settings/settings.js';
import { capabilitiesOf, type HaproxyCapabilities } from './runtime/capabilities.js';
import { checkReplies } from './runtime/checked-replies.js';
import { type Command, runtimeCommand } from './runtime/command.js';
import { type HaproxyInfo, parseInfo } from './parsers/info.parser.js';
import { type MapEntry, parseMap } from './parsers/map.parser.js';
import type { ProcessIdentity } from './runtime/process-identity.js';
import { isRefusal, type Reply } from './runtime/reply.js';
import { type LiveRouting, parseBackends, routingOf } from './runtime/runtime-routing.js';
import { RuntimeTransport } from './runtime/transport.js';
import { parseServersState, type ServerStateRow } from './parsers/server-state.parser.js';
import { type ServerStatus, type ServerStatusRow, statusRows } from './runtime/server-status.js';
import { parseStat, STAT, type StatRow, type StatTypes } from './parsers/stat.parser.js';
import {
  deleteCommand,
  NO_SUCH_BACKEND,
  type PlannedCommand,
  publishPool,
  type Readdressed,
  removePool,
  roundsOf,
  type Slot,
} from './runtime/step-commands.js';
import { serverName, isPoolName } from '../model/pool-name.js';

/** How long a new address may take to show; HAProxy needs under a millisecond. */
const READDRESS_MS = 2_000;
/** HAProxy looks at all its backends for each that is asked for: above this many, one answer of all is less work. */
const MANY_BACKENDS = 200;
/** How long idle connections to a server in maintenance may take to close; HAProxy needs a few milliseconds. */
const SETTLE_MS = 50;
const NO_SUCH_SERVER = /No such server/;

/** What of a plan could not be done to the end, and need not be. */
export interface Applied {
  /** Removed servers that stay in maintenance because connections to them last. */
  parked: Slot[];
  /** Removed pools that stay, empty, for the same reason. */
  keptPools: string[];
  /** Who did it: more than one process if HAProxy was replaced meanwhile. */
  processes: ProcessIdentity[];
}

/** Typed operations on a running HAProxy. Each is one connection; none keeps anything in memory that could be wrong. */
@Injectable()
export class HaproxyRuntimeService {
  readonly #transport: RuntimeTransport;

  constructor(private readonly settings: Settings) {
    this.#transport = new RuntimeTransport(settings.runtime);
  }

  /**
   * Carries out a plan, in its order, and tells which removed servers stay parked in maintenance because
   * connections to them last, and which processes did it: more than one if HAProxy was replaced meanwhile. After a
   * throw HAProxy may have done a part of it: read the routing again.
   *
   * @throws AppError haproxy_rejected with HAProxy's words, or haproxy_unavailable
   */
  async apply(steps: readonly Step[]): Promise<Applied> {
    const parked: Slot[] = [];
    const processes: ProcessIdentity[] = [];
    const others = steps.filter((step) => step.op !== 'remove_pool');
    for (const round of roundsOf(others, this.settings.files.map)) {
      const { sent, replies } = await this.#send(withInfo(round.commands));
      processes.push(parseInfo(replies.at(-1)?.text ?? ''));
      for (const [index, { removes }] of sent.entries()) {
        const reply = replies[index];
        if (removes && reply && isRefusal(reply)) parked.push(removes);
      }
      if (round.readdressed.length > 0) await this.#untilReaddressed(round.readdressed);
    }
    const stay = await this.#stillParked(parked);
    // After the second attempt at their servers, without which most could not be deleted.
    const pools = steps.filter((step) => step.op === 'remove_pool').map(({ pool }) => pool);
    return { parked: stay, keptPools: await this.#removePools(pools), processes };
  }

  /** The pools that HAProxy has, with or without servers. */
  async pools(): Promise<Set<string>> {
    const [text] = await this.#texts([runtimeCommand`show backend`]);
    return new Set(parseBackends(text ?? '').filter(isPoolName));
  }

  /** @throws AppError haproxy_rejected when the map was not loaded from the file of the settings */
  async readRouting(): Promise<LiveRouting> {
    const [info, servers, map, backends] = await this.#texts([
      runtimeCommand`show info`,
      runtimeCommand`show servers state`,
      runtimeCommand`show map ${this.settings.files.map}`,
      runtimeCommand`show backend`,
    ]);
    const process = parseInfo(info ?? '');
    const routing = routingOf(
      parseServersState(servers ?? ''),
      parseMap(map ?? ''),
      parseBackends(backends ?? ''),
    );
    return { ...routing, process, capabilities: capabilitiesOf(process) };
  }

  /** Deletes exactly these map entries, and not others of the same key (`RuntimeRouting.duplicates`). */
  async deleteEntries(entries: readonly MapEntry[]): Promise<void> {
    const file = this.settings.files.map;
    await this.#run(entries.map(({ ref }) => ({ command: runtimeCommand`del map ${file} #${ref}` })));
  }

  async info(): Promise<HaproxyInfo> {
    const [text] = await this.#texts([runtimeCommand`show info`]);
    return parseInfo(text ?? '');
  }

  /** The text of `show servers state`, as `server-state-file` reads it. */
  async serversState(): Promise<string> {
    const [text] = await this.#texts([runtimeCommand`show servers state`]);
    return `${text}\n`;
  }

  /** The names of all backends that HAProxy has. */
  async backends(): Promise<string[]> {
    const [text] = await this.#texts([runtimeCommand`show backend`]);
    return parseBackends(text ?? '');
  }

  /** Every line of `show stat`: frontends, backends, servers and listeners. A large HAProxy answers megabytes. */
  async stats(types: StatTypes = STAT.all): Promise<StatRow[]> {
    const [text] = await this.#texts([runtimeCommand`show stat -1 ${types} -1`]);
    return parseStat(text ?? '');
  }

  /** The lines of some backends. One that HAProxy does not have is empty. */
  async statsOf(
    backends: readonly string[],
    types: StatTypes = STAT.backends | STAT.servers,
  ): Promise<StatRow[]> {
    if (backends.length > MANY_BACKENDS) {
      const wanted = new Set(backends);
      return (await this.stats(types)).filter(({ proxy }) => wanted.has(proxy));
    }
    const replies = await this.#run(
      backends.map((name) => ({
        command: runtimeCommand`show stat ${name} ${types} -1`,
        goodRefusal: NO_SUCH_BACKEND,
      })),
    );
    return replies.flatMap((reply) => (isRefusal(reply) ? [] : parseStat(reply.text)));
  }

  /** The suite's servers as HAProxy sees them now; of some pools if given, of one status if given. */
  async serverStatuses(pools?: readonly string[], status?: ServerStatus): Promise<ServerStatusRow[]> {
    return statusRows(await (pools ? this.statsOf(pools, STAT.servers) : this.stats(STAT.servers)), status);
  }

  /**
   * Deletes a slot that is parked in maintenance. False while connections to it last; true also when it is gone
   * already.
   */
  async deleteParked(pool: string, slot: number): Promise<boolean> {
    const planned = deleteCommand({ pool, slot });
    const allowed = new RegExp(`${planned.goodRefusal?.source}|${NO_SUCH_SERVER.source}`, 'i');
    const [reply] = await this.#run([{ ...planned, goodRefusal: allowed }]);
    return reply !== undefined && (!isRefusal(reply) || NO_SUCH_SERVER.test(reply.text));
  }

  /**
   * Waits, inside HAProxy, until a slot in maintenance has no connection left, at most `seconds`; then deletes it.
   * True when it is gone.
   */
  async waitRemovable(pool: string, slot: number, seconds: number): Promise<boolean> {
    // The transport takes a long silence for a hanging HAProxy, so that one wait is short and asked for again.
    const until = performance.now() + seconds * 1_000;
    for (;;) {
      const left = Math.max(1, Math.min(2_000, Math.ceil(until - performance.now())));
      await this.#transport.run([waitCommand({ pool, slot }, left)]);
      if (await this.deleteParked(pool, slot)) return true;
      if (performance.now() >= until) return false;
    }
  }

  async capabilities(): Promise<HaproxyCapabilities> {
    return capabilitiesOf(await this.info());
  }

  /**
   * A server that has gone into maintenance closes its idle connections in other threads, a moment later: those that
   * HAProxy did not delete are tried once more.
   */
  async #stillParked(parked: readonly Slot[]): Promise<Slot[]> {
    const [first] = parked;
    if (!first) return [];
    const replies = await this.#run([
      { command: waitCommand(first, SETTLE_MS), goodRefusal: /./ },
      ...parked.map((slot) => deleteCommand(slot)),
    ]);
    return parked.filter((_, index) => {
      const reply = replies[index + 1];
      return !reply || isRefusal(reply);
    });
  }

  /** Those that HAProxy would not delete; they are published again, so that they can be taken as they are. */
  async #removePools(pools: readonly string[]): Promise<string[]> {
    if (pools.length === 0) return [];
    const commands = pools.map((pool) => removePool(pool));
    const replies = await this.#run(commands.flat());
    const width = replies.length / pools.length;
    const kept = pools.filter((_, index) => {
      const reply = replies[index * width + width - 1];
      return reply !== undefined && isRefusal(reply) && !NO_SUCH_BACKEND.test(reply.text);
    });
    if (kept.length > 0) await this.#run(kept.map((pool) => publishPool(pool)));
    return kept;
  }

  async #untilReaddressed(expected: readonly Readdressed[]): Promise<void> {
    const deadline = performance.now() + READDRESS_MS;
    const pools = [...new Set(expected.map(({ pool }) => pool))];
    // `wait` lets HAProxy's own task that changes addresses run before it is asked for them.
    const commands = [runtimeCommand`wait 1ms`, ...showServers(pools)];
    for (;;) {
      const texts = await this.#texts(commands);
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
          `HAProxy took the new address of ${serverName(missing.pool, missing.slot)} but still shows another after ${READDRESS_MS} ms.`,
        );
    }
  }

  async #texts(commands: readonly Command[]): Promise<string[]> {
    const replies = await this.#run(commands.map((command) => ({ command })));
    return replies.map((reply) => reply.text);
  }

  async #run(planned: readonly PlannedCommand[]): Promise<Reply[]> {
    return (await this.#send(planned)).replies;
  }

  /** Runs them in one connection, made as they are sent, and looks at every reply. */
  async #send(planned: Iterable<PlannedCommand>): Promise<{ sent: PlannedCommand[]; replies: Reply[] }> {
    const sent: PlannedCommand[] = [];
    try {
      const replies = await this.#transport.run(commandsOf(planned, sent));
      checkReplies(sent, replies);
      return { sent, replies };
    } catch (error) {
      metrics.runtimeError(error);
      throw error;
    }
  }
}

function* commandsOf(planned: Iterable<PlannedCommand>, sent: PlannedCommand[]): Generator<Command, void> {
  for (const one of planned) {
    sent.push(one);
    yield one.command;
  }
}

/** And who did it, in the same connection: another one might reach another worker. */
function* withInfo(planned: Iterable<PlannedCommand>): Generator<PlannedCommand, void> {
  yield* planned;
  yield { command: runtimeCommand`show info` };
}

/** HAProxy answers as soon as the slot can be deleted, at the latest after that time. */
function waitCommand({ pool, slot }: Slot, ms: number): Command {
  return runtimeCommand`wait ${ms}ms srv-removable ${pool}/${serverName(pool, slot)}`;
}

/** Above this many pools one look at all of them is less work for HAProxy than one for each. */
function showServers(pools: readonly string[]): Command[] {
  return pools.length > 20
    ? [runtimeCommand`show servers state`]
    : pools.map((pool) => runtimeCommand`show servers state ${pool}`);
}
