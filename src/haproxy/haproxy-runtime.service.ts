import { Injectable } from '@nestjs/common';
import { isSamePath } from '../lib/same-path.js';
import { canonicalIp } from '../model/addresses/ip-address.js';
import type { SentStep } from '../model/routing.js';
import { Settings } from '../settings/settings.js';
import { OperatorConfig } from './config/operator-config.js';
import { OPTIONS_VARIABLE, parseOptionsVariable } from './config/pool-options.js';
import { capabilitiesOf, type HaproxyCapabilities } from './runtime/capabilities.js';
import { type Command, isWord, runtimeCommand } from './runtime/command.js';
import { type HaproxyInfo, parseInfo } from './parsers/info.parser.js';
import { type FrontendStatus, frontendStatus } from './runtime/frontend-status.js';
import { type MapEntry, parseMap, parseMapLookup, parseMapNames } from './parsers/map.parser.js';
import { isRejected, type PlannedCommand, type Reply } from './runtime/reply.js';
import { type LiveRouting, parseBackends, routingOf } from './runtime/runtime-routing.js';
import { RecentAddresses } from './runtime/recent-addresses.js';
import { parseCliSockets, parseEnvironment } from './parsers/listeners.parser.js';
import { routingFrontends, type RunningListeners } from './guard/listeners.js';
import { parseServersState, type ServerStateRow } from './parsers/server-state.parser.js';
import {
  isUnpublished,
  type ServerStatus,
  type ServerStatusRow,
  statusRows,
  trackedBackends,
} from './runtime/server-status.js';
import { parseStat, STAT, type StatRow, type StatTypes } from './parsers/stat.parser.js';
import { RuntimeClient } from './runtime/runtime-client.js';
import { deleteServer, NO_SUCH_BACKEND, showServersState, type Slot } from './runtime/step-commands.js';
import { type ApplyResult, StepRunner } from './runtime/step-runner.js';
import { isPoolName, serverName, slotOf } from '../model/names/pool-name.js';
import type { PoolOptions } from '../model/options/pool-options.js';

/** Each `show stat NAME` searches all backends. Above this many names, one `show stat` of all backends is faster. */
const MAX_STAT_QUERIES = 200;
const NO_SUCH_SERVER = /No such server/;
const NO_SUCH_MAP = /Unknown map identifier/;

/** A server that is DOWN, and why. */
export interface DownServerRow extends Slot {
  ip: string;
  http_port: number;
  checkStatus: number;
  checkResult: number;
}

/**
 * Typed operations on a running HAProxy. Each opens its own connection. The service remembers nothing about HAProxy, except
 * the name of the map, and which addresses changed in the last seconds.
 */
@Injectable()
export class HaproxyRuntimeService {
  readonly #client: RuntimeClient;
  readonly #recent = new RecentAddresses();
  readonly #steps: StepRunner;
  /** The map file as haproxy.cfg names it. HAProxy compares names as text, so another path of the file is unknown to it. */
  #mapName: string;

  constructor(
    private readonly settings: Settings,
    private readonly operatorConfig: OperatorConfig = new OperatorConfig(settings),
  ) {
    this.#client = new RuntimeClient(settings.runtime);
    this.#steps = new StepRunner(this.#client, this.#recent);
    this.#mapName = settings.files.map;
  }

  /**
   * Runs the steps in their order, except that pools are removed last. After an error, HAProxy may have run a part of
   * the steps: read the routing again. `optionsOf` returns the options of a pool.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  apply(
    steps: readonly SentStep[],
    optionsOf: (pool: string) => PoolOptions | undefined = () => undefined,
  ): Promise<ApplyResult> {
    return this.#steps.run(steps, this.#mapName, ({ pool, slot }) =>
      this.operatorConfig.keywordsOf(serverName(pool, slot), optionsOf(pool)),
    );
  }

  /** The names of the pools that HAProxy has, with or without servers. */
  async poolNames(): Promise<Set<string>> {
    return new Set((await this.backendNames()).filter(isPoolName));
  }

  /** Where its Runtime API listens, and its environment. Not in `readRouting`: it changes only with the process. */
  async listeners(): Promise<RunningListeners> {
    const [sockets, environment] = await this.#client.query([
      runtimeCommand`show cli sockets`,
      runtimeCommand`show env`,
    ]);
    return { sockets: parseCliSockets(sockets ?? ''), environment: parseEnvironment(environment ?? '') };
  }

  /** The names of all backends that HAProxy has. */
  async backendNames(): Promise<string[]> {
    const [text] = await this.#client.query([runtimeCommand`show backend`]);
    return parseBackends(text ?? '');
  }

  /**
   * Why no domain can point at a backend: backend → reason. A backend that can be used has no entry. HAProxy resets
   * requests that it routes to a backend of another mode.
   */
  async findBackendProblems(names: readonly string[]): Promise<Map<string, string>> {
    const rows = await this.statsOf(names, STAT.backends);
    const modes = new Map(rows.map((row) => [row.proxy, row.text('mode')]));
    const problems = new Map<string, string>();
    for (const name of names) {
      const mode = modes.get(name);
      if (mode === undefined) problems.set(name, `HAProxy has no backend ${name}`);
      else if (mode !== 'http')
        problems.set(name, `the backend ${name} has mode ${mode}, and domains need mode http`);
    }
    return problems;
  }

  /**
   * Reads the whole routing. HAProxy rejects this if it has not loaded the map file from the settings.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async readRouting(): Promise<LiveRouting> {
    const [info, servers, map, backends, options] = await this.#readRoutingTexts();
    const process = parseInfo(info ?? '');
    const routing = routingOf(
      parseServersState(servers ?? ''),
      parseMap(map ?? ''),
      parseBackends(backends ?? ''),
    );
    return {
      ...routing,
      process,
      capabilities: capabilitiesOf(process),
      options: await this.#optionTags(options ?? ''),
    };
  }

  /** The first of these keys that the map in HAProxy has, with its value. Undefined if it has none. */
  async lookUp(keys: readonly string[]): Promise<{ key: string; pool: string } | undefined> {
    const texts = await this.#client.query(
      keys.map((key) => runtimeCommand`get map ${this.#mapName} ${key}`),
    );
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
      { command: optionsVariable(1), acceptedRejection: /./ },
    ];
    let replies = await this.#client.run(plannedWith(NO_SUCH_MAP));
    // The last one is rejected if no pool has options.
    if (replies.slice(0, -1).some((reply) => isRejected(reply))) {
      await this.#findMapName();
      replies = await this.#client.run(plannedWith());
    }
    return replies.map(({ text }) => text);
  }

  /** The tags of the options that HAProxy has loaded, by pool. @throws AppError haproxy_unavailable */
  async loadedOptions(): Promise<Map<string, string>> {
    const [reply] = await this.#client.run([{ command: optionsVariable(1), acceptedRejection: /./ }]);
    return this.#optionTags(reply?.text ?? '');
  }

  /** `first` is what HAProxy answers about the first variable. */
  async #optionTags(first: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    let text = first;
    for (let number = 1; ;) {
      const { tags, isLast } = parseOptionsVariable(valueOf(text) ?? 'end');
      for (const [pool, tag] of tags) found.set(pool, tag);
      if (isLast) return found;
      number += 1;
      const [reply] = await this.#client.run([{ command: optionsVariable(number), acceptedRejection: /./ }]);
      text = reply?.text ?? '';
    }
  }

  /** Finds the map by the path of its file. If HAProxy does not have it, the next command with the map is rejected. */
  async #findMapName(): Promise<void> {
    const { map } = this.settings.files;
    const [text] = await this.#client.query([runtimeCommand`show map`]);
    const name = parseMapNames(text ?? '').find((found) => isWord(found) && isSamePath(found, map));
    this.#mapName = name ?? map;
  }

  /** Deletes exactly these map entries. Other entries with the same key stay (see `RuntimeRouting.duplicates`). */
  async deleteEntries(entries: readonly MapEntry[]): Promise<void> {
    const file = this.#mapName;
    await this.#client.run(entries.map(({ ref }) => ({ command: runtimeCommand`del map ${file} #${ref}` })));
  }

  async info(): Promise<HaproxyInfo> {
    const [text] = await this.#client.query([runtimeCommand`show info`]);
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
    const [reply] = await this.#client.run([
      { command: runtimeCommand`get var proc.suite_rules`, acceptedRejection: /./ },
    ]);
    return valueOf(reply?.text ?? '');
  }

  /** The servers of these pools. A pool that HAProxy does not have has none. */
  async serversOf(pools: readonly string[]): Promise<ServerStateRow[]> {
    const replies = await this.#client.run(
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
    const [text] = await this.#client.query([runtimeCommand`show servers state`]);
    return `${text}\n`;
  }

  /** The rows of `show stat`. A large HAProxy answers with several megabytes. */
  async stats(types: StatTypes = STAT.all): Promise<StatRow[]> {
    const [text] = await this.#client.query([runtimeCommand`show stat -1 ${types} -1`]);
    return this.#recent.withoutStaleChecks(parseStat(text ?? ''));
  }

  /** The rows of these backends. A backend that HAProxy does not have has no rows. */
  async statsOf(
    backends: readonly string[],
    types: StatTypes = STAT.backends | STAT.servers,
  ): Promise<StatRow[]> {
    const rows = statRows(await this.#client.run(statCommands(backends, types)), backends);
    return this.#recent.withoutStaleChecks(rows);
  }

  /** The rows of these backends, or of all if `backends` is undefined, and the process that they are of. */
  async statsOfProcess(
    backends: readonly string[] | undefined,
    types: StatTypes,
  ): Promise<{ info: HaproxyInfo; rows: StatRow[] }> {
    const [info, ...replies] = await this.#client.run([
      { command: runtimeCommand`show info` },
      ...statCommands(backends, types),
    ]);
    const rows = this.#recent.withoutStaleChecks(statRows(replies, backends));
    return { info: parseInfo(info?.text ?? ''), rows };
  }

  /** Whether visitors can connect: the limits of the process, and its frontends. */
  async frontendStatus(): Promise<FrontendStatus> {
    const { info, rows } = await this.statsOfProcess(undefined, STAT.frontends);
    return this.#frontendStatus(info, rows);
  }

  /** Whether visitors can connect, and whether HAProxy routes requests to this backend. */
  async backendAccess(backend: string): Promise<{ frontends: FrontendStatus; unpublished: boolean }> {
    const [info, frontends, backends] = await this.#client.run([
      { command: runtimeCommand`show info` },
      ...statCommands(undefined, STAT.frontends),
      ...statCommands([backend], STAT.backends),
    ]);
    return {
      frontends: this.#frontendStatus(parseInfo(info?.text ?? ''), parseStat(frontends?.text ?? '')),
      unpublished: statRows(backends ? [backends] : [], [backend]).some((row) => isUnpublished(row)),
    };
  }

  #frontendStatus(info: HaproxyInfo, rows: readonly StatRow[]): FrontendStatus {
    const { sections } = this.operatorConfig;
    const routing = routingFrontends(sections, this.settings.files.map).map(({ name }) => name);
    return frontendStatus(info, rows, new Set(routing));
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
    const [reply] = await this.#client.run([{ ...planned, acceptedRejection: accepted }]);
    return reply !== undefined && (!isRejected(reply) || NO_SUCH_SERVER.test(reply.text));
  }
}

function optionsVariable(number: number): Command {
  return runtimeCommand`get var ${`${OPTIONS_VARIABLE}${number}`}`;
}

/** The value in the answer to `get var`; undefined if there is no such variable. */
function valueOf(text: string): string | undefined {
  return /value=<(?<value>[\w:/-]+)>/.exec(text)?.groups?.['value'];
}

/** The commands that read the rows of these backends, or of all if `backends` is undefined. */
export function statCommands(backends: readonly string[] | undefined, types: StatTypes): PlannedCommand[] {
  if (backends === undefined || backends.length > MAX_STAT_QUERIES)
    return [{ command: runtimeCommand`show stat -1 ${types} -1` }];
  return backends.map((name) => ({
    command: runtimeCommand`show stat ${name} ${types} -1`,
    acceptedRejection: NO_SUCH_BACKEND,
  }));
}

function statRows(replies: readonly Reply[], backends: readonly string[] | undefined): StatRow[] {
  const rows = replies.flatMap((reply) => (isRejected(reply) ? [] : parseStat(reply.text)));
  if (backends === undefined || backends.length <= MAX_STAT_QUERIES) return rows;
  const wanted = new Set(backends);
  return rows.filter(({ proxy }) => wanted.has(proxy));
}
