import { lookup } from 'node:dns/promises';
import { Injectable } from '@nestjs/common';
import { AppError } from '../../errors/app-error.js';
import {
  type ForbiddenServer,
  forbiddenServer,
  type Listener,
  type ListenerFacts,
  listenIp,
} from '../../model/addresses/forbidden-server.js';
import { serverName } from '../../model/names/pool-name.js';
import {
  isInService,
  isSameAddress,
  type PoolServers,
  serverAddress,
  type ServerSpec,
} from '../../model/server.js';
import { ServerNetworks } from '../../model/addresses/server-networks.js';
import type { Scope } from '../../model/scope/scope.js';
import type { StateDelta, StateReader } from '../../model/state.js';
import { Settings } from '../../settings/settings.js';
import { OperatorConfig } from '../config/operator-config.js';
import type { ConfigSection } from '../config/config-parser.js';
import { controlListeners, hostNames, routingListeners, type RunningListeners, SUITE } from './listeners.js';
import { LocalAddresses } from './local-addresses.js';

/** The longest wait for a name server. A name that has no address by then has none until the next refresh. */
const RESOLVE_MS = 2_000;
/** How old the addresses of the machine may be. Reading them takes half a millisecond. */
const ADDRESSES_MS = 100;
/** How many servers an answer or a log line names. */
const SHOWN = 20;

type Address = Pick<ServerSpec, 'ip' | 'http_port'>;

/**
 * Decides which addresses servers may have (SPEC section 4): inside ALLOWED_SERVER_NETWORKS, and neither a control port
 * nor HAProxy itself. PersistenceService asks it about every server that a change adds or changes, so that no way in
 * can pass it.
 */
@Injectable()
export class ServerGuard {
  readonly #networks: ServerNetworks;
  #running: RunningListeners = { sockets: [], environment: new Map() };
  #addresses: ReadonlyMap<string, readonly string[]> = new Map();
  #local: { since: number; addresses: LocalAddresses } | undefined;
  /** The listeners of these sections; built again if the sections are another object. */
  #known: { sections: readonly ConfigSection[]; controls: Listener[]; routing: Listener[] } | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly operatorConfig: OperatorConfig,
  ) {
    this.#networks = new ServerNetworks(settings.allowedServerNetworks);
  }

  /**
   * Reads haproxy.cfg again, takes over what the running HAProxy says about itself, and resolves the host names of the
   * listeners again.
   *
   * @throws the error of the file system, unless haproxy.cfg is missing
   */
  async refresh(running: RunningListeners = this.#running): Promise<void> {
    await this.operatorConfig.read();
    this.#running = running;
    const { settings } = this;
    const names = hostNames({ settings, sections: this.operatorConfig.sections, running });
    this.#addresses = new Map(
      await Promise.all(names.map(async (name) => [name, await addressesOf(name)] as const)),
    );
    this.#known = undefined;
  }

  /** @throws AppError forbidden, server_is_control, server_is_haproxy */
  check(server: Address): void {
    this.#check(server, this.#facts());
  }

  /** Checks a server that replaces `present` in its slot. @throws AppError forbidden, server_is_control, server_is_haproxy */
  checkReplacement(present: ServerSpec, server: ServerSpec): void {
    this.#checkReplacement(present, server, this.#facts());
  }

  /**
   * Checks each server that the change adds, moves to another address or puts into service, and the servers of a pool
   * that gets another domain. `before` is the state without the change. `scope`: what the token of the caller is limited to.
   *
   * @throws AppError forbidden, server_is_control, server_is_haproxy
   */
  checkChange(change: StateDelta, before: StateReader, scope?: Scope): void {
    const facts = this.#facts();
    const joined = new Set(change.domains.values());
    for (const [name, pool] of change.pools) {
      const former = before.pool(name)?.servers;
      if (!pool || (pool.servers === former && !joined.has(name))) continue;
      for (const [slot, server] of pool.servers) {
        const present = former?.get(slot);
        if (!present) this.#check(server, facts);
        else this.#checkReplacement(present, server, facts);
        if (joined.has(name)) this.#checkListeners(server, facts);
        if (!present || joined.has(name) || !isSameAddress(present, server)) scope?.checkServer(server.ip);
      }
    }
  }

  /** A function that returns the servers that HAProxy may get: the same object if it may get all of them. */
  withholding(): (servers: PoolServers) => PoolServers {
    const facts = this.#facts();
    const isWithheld = ({ ip, http_port }: ServerSpec): boolean =>
      forbiddenServer(ip, http_port, facts)?.code === 'server_is_control';
    return (servers) => {
      for (const server of servers.values())
        if (isWithheld(server)) return new Map([...servers].filter(([, one]) => !isWithheld(one)));
      return servers;
    };
  }

  /** The servers of the state that no change could add now, as sentences. */
  findings(state: StateReader): string[] {
    const facts = this.#facts();
    const found: string[] = [];
    for (const name of state.poolNames()) {
      const pool = state.pool(name);
      for (const [slot, server] of pool?.servers ?? []) {
        const reason = forbiddenServer(server.ip, server.http_port, facts);
        if (!reason || !pool) continue;
        const served =
          reason.code === 'server_is_control' ? 'HAProxy does not get it' : 'HAProxy still uses it';
        found.push(
          `${serverName(name, slot)} of ${pool.domains[0]}: ${serverAddress(server)} is ${reason.listener.name}; ${served}`,
        );
      }
    }
    return found.slice(0, SHOWN);
  }

  #checkReplacement(present: ServerSpec, server: ServerSpec, facts: ListenerFacts): void {
    if (!isSameAddress(present, server)) this.#check(server, facts);
    else if (isPutIntoService(present, server)) this.#checkListeners(server, facts);
  }

  #check(server: Address, facts: ListenerFacts): void {
    this.#networks.check(server.ip);
    this.#checkListeners(server, facts);
  }

  #checkListeners(server: Address, facts: ListenerFacts): void {
    const reason = forbiddenServer(server.ip, server.http_port, facts);
    if (reason) throw new AppError(reason.code, explain(server, reason));
  }

  /** Reads the addresses of the machine again, because they change. The steps of one change use the same addresses. */
  #facts(): ListenerFacts {
    const now = performance.now();
    if (!this.#local || now - this.#local.since > ADDRESSES_MS)
      this.#local = { since: now, addresses: new LocalAddresses() };
    const local = this.#local.addresses;
    const isLocal = (ip: string): boolean => local.has(ip);
    const { sections } = this.operatorConfig;
    if (this.#known?.sections !== sections) {
      const resolve = (host: string): readonly string[] => this.#addresses.get(host) ?? [];
      const sources = { settings: this.settings, sections, running: this.#running, resolve, isLocal };
      this.#known = { sections, controls: controlListeners(sources), routing: routingListeners(sources) };
    }
    const { controls, routing } = this.#known;
    return { controls, routing, isLocal };
  }
}

/** An operator can always drain such a server, stop it or remove it. */
function isPutIntoService(before: ServerSpec, after: ServerSpec): boolean {
  return isInService(after) && !isInService(before);
}

function explain(server: Address, { code, listener }: ForbiddenServer): string {
  const what = `${serverAddress(server)} is ${listener.name}.`;
  if (code === 'server_is_haproxy')
    return (
      `${what} A request to this server would come back to HAProxy again and again, until no connection is left for ` +
      'other sites. Give the address of the web server, or share_with to use the servers of another domain.'
    );
  if (listener.name === SUITE)
    return `${what} A site must not lead to it. To publish /mcp through HAProxy, set MCP_PUBLIC_HOST (docs/security.md).`;
  return `${what} Every visitor of a site with this server could control HAProxy. Give the address of a web server.`;
}

async function addressesOf(name: string): Promise<readonly string[]> {
  if (name === 'localhost') return ['127.0.0.1', '::1'];
  const timeout = new Promise<[]>((resolve) => setTimeout(() => resolve([]), RESOLVE_MS).unref());
  const found = await Promise.race([lookup(name, { all: true }).catch(() => []), timeout]);
  return found.flatMap(({ address }) => listenIp(address) ?? []);
}
