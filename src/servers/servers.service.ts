import { Injectable } from '@nestjs/common';
import type { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { Operation } from '../contract/operation.js';
import { paginate } from '../contract/pages/page.js';
import { serverName } from '../model/pool-name.js';
import { ServerDto } from '../contract/fields/server.dto.js';
import { ServerNetworks } from '../model/server-networks.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { ServerStatusRow } from '../haproxy/runtime/server-status.js';
import { ServerStatusBatcher } from '../haproxy/runtime/status-batcher.js';
import { requirePool } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { Edit } from '../persistence/writer-queue.js';
import { Settings } from '../settings/settings.js';
import {
  addServers,
  changeDomainState,
  changeServer,
  removeServer,
  serversOf,
  type PlacedServer,
} from './server-rules.js';
import {
  AddServerDto,
  AddServersDto,
  ChangedServerDto,
  DomainStateDto,
  ListServersDto,
  RemovedServerDto,
  RemoveServerDto,
  ServerListDto,
  SetDomainStateDto,
  SetServerStateDto,
  SetServerWeightDto,
  ServersDto,
} from './servers.dto.js';

/** The servers behind each domain: which there are, and how much traffic each gets. */
@Injectable()
export class ServersService {
  readonly #networks: ServerNetworks;
  readonly #look: ServerStatusBatcher;

  constructor(
    private readonly persistence: PersistenceService,
    runtime: HaproxyRuntimeService,
    private readonly settings: Settings,
  ) {
    this.#look = new ServerStatusBatcher(runtime);
    this.#networks = new ServerNetworks(settings.allowedServerNetworks);
  }

  @Operation({
    name: 'haproxy_list_servers',
    title: 'List the servers of a domain',
    description:
      'Lists the servers in the pool of a domain, with the status and the current connections that HAProxy reports. ' +
      'Use it before changing a server, to learn its slot; what its last health check found is in ' +
      'haproxy_domain_health. While HAProxy does not answer the status is "unknown".',
    output: ServerListDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  async list(input: ListServersDto): Promise<ServerListDto> {
    const placed = serversOf(this.persistence.state, input.domain);
    const page = paginate(placed, ({ slot }) => String(slot).padStart(4, '0'), input);
    return { ...page, items: await this.#describe(page.items) };
  }

  @Operation({
    name: 'haproxy_add_server',
    title: 'Add a server',
    description:
      'Adds a server to the pool of a domain; it gets requests as soon as the answer is there. Every domain that ' +
      'shares the pool gets it too. Slot 0 takes the lowest free slot; a slot that holds this very address already is ' +
      'left as it is. For several at once use haproxy_add_servers; haproxy_domain_health then tells whether it is up.',
    output: ChangedServerDto,
    errors: ['domain_not_found', 'slot_taken', 'pool_full'],
  })
  async add(input: AddServerDto): Promise<ChangedServerDto> {
    this.#networks.check(input.ip);
    return this.#one((draft) => addServers(draft, input.domain, [input], this.settings.maxSlots), input);
  }

  @Operation({
    name: 'haproxy_add_servers',
    title: 'Add several servers',
    description:
      'Adds 1 to 10 servers to the pool of a domain, all or none: one that is refused refuses them all. Give a list ' +
      'of {slot, ip, http_port, weight}, or a string that holds one as JSON. For more than 10 call it again; ' +
      'haproxy_domain_health then tells which are up.',
    output: ServersDto,
    errors: ['domain_not_found', 'slot_taken', 'pool_full', 'payload_too_large'],
  })
  async addMany(input: AddServersDto): Promise<ServersDto> {
    for (const server of input.servers) this.#networks.check(server.ip);
    return this.#change(
      (draft) => addServers(draft, input.domain, input.servers, this.settings.maxSlots),
      input,
    );
  }

  @Operation({
    name: 'haproxy_remove_server',
    title: 'Remove a server',
    description:
      'Takes a server out of the pool of a domain at once: no new request reaches it, those under way finish. To let ' +
      'long connections end first, use haproxy_set_server_state with drain and haproxy_wait_drain before it.',
    output: RemovedServerDto,
    destructive: true,
    errors: ['domain_not_found', 'server_not_found'],
  })
  async remove(input: RemoveServerDto): Promise<RemovedServerDto> {
    const { value, planned } = await this.persistence.change(
      (draft) => removeServer(draft, input.domain, input.slot),
      input,
    );
    return {
      slot: value.slot,
      name: serverName(value.pool, value.slot),
      ip: value.server.ip,
      http_port: value.server.http_port,
      ...planned,
    };
  }

  @Operation({
    name: 'haproxy_set_server_state',
    title: 'Set the state of a server',
    description:
      'Puts one server in or out of service. ready: gets requests. drain: gets no new ones, those under way and sticky ones go on. maint: out of service, ' +
      'health checks stopped. Before maintenance use drain, then haproxy_wait_drain, then maint; afterwards ready.',
    output: ChangedServerDto,
    idempotent: true,
    errors: ['domain_not_found', 'server_not_found'],
  })
  async setState(input: SetServerStateDto): Promise<ChangedServerDto> {
    return this.#one(
      (draft) => [changeServer(draft, input.domain, input.slot, { state: input.state })],
      input,
    );
  }

  @Operation({
    name: 'haproxy_set_server_weight',
    title: 'Set the weight of a server',
    description:
      'Sets how large a share of the requests a server gets: its weight divided by the sum of the weights of its ' +
      'pool. 0 sends it no new requests. To shift traffic between two servers, raise one and lower the other in ' +
      'steps, and look at haproxy_stats with scope=server in between.',
    output: ChangedServerDto,
    idempotent: true,
    errors: ['domain_not_found', 'server_not_found'],
  })
  async setWeight(input: SetServerWeightDto): Promise<ChangedServerDto> {
    return this.#one(
      (draft) => [changeServer(draft, input.domain, input.slot, { weight: input.weight })],
      input,
    );
  }

  @Operation({
    name: 'haproxy_set_domain_state',
    title: 'Set the state of all servers of a domain',
    description:
      'Sets every server of the pool of a domain to ready, drain or maint in one change. Domains that share the pool ' +
      'are affected too: the answer names them. With all servers in maint the domain answers 503; for one server use ' +
      'haproxy_set_server_state.',
    output: DomainStateDto,
    idempotent: true,
    destructive: true,
    errors: ['domain_not_found'],
  })
  async setDomainState(input: SetDomainStateDto): Promise<DomainStateDto> {
    // Taken with the change: a removal right after it must not make an answer about it fail.
    const found: ReturnType<typeof requirePool>[] = [];
    const changed = await this.#change((draft) => {
      found[0] = requirePool(draft, input.domain);
      return changeDomainState(draft, input.domain, input.state);
    }, input);
    const name = found[0]?.name ?? '';
    const shared_with = (found[0]?.pool.domains ?? [])
      .slice(0, 101)
      .filter((other) => other !== input.domain)
      .slice(0, 100);
    return { domain: input.domain, pool: name, shared_with, state: input.state, ...changed };
  }

  async #one(change: Edit<PlacedServer[]>, input: DryRunDto): Promise<ChangedServerDto> {
    const {
      servers: [server],
      ...planned
    } = await this.#change(change, input);
    if (!server) throw new Error('invariant: a change of one server describes one server');
    return { ...server, ...planned };
  }

  /** HAProxy is asked how the servers are as soon as it has the change, while the files are put in place. */
  async #change(change: Edit<PlacedServer[]>, input: DryRunDto): Promise<ServersDto> {
    let placed: PlacedServer[] = [];
    let seen: Promise<readonly ServerStatusRow[]> | undefined;
    const { planned } = await this.persistence.change(
      (draft) => {
        placed = change(draft);
      },
      input,
      (stage) => {
        if (stage === 'applied') seen = this.#seen(placed);
      },
    );
    return { servers: await this.#describe(placed, seen), ...planned };
  }

  /** The saved servers, all of one pool, with what HAProxy says of them now. */
  async #describe(placed: readonly PlacedServer[], seen = this.#seen(placed)): Promise<ServerDto[]> {
    const statuses = await seen;
    return placed.map(({ pool, slot, server }) => {
      const live = statuses.find((status) => status.slot === slot);
      return {
        slot,
        name: serverName(pool, slot),
        ...server,
        status: live?.status ?? 'unknown',
        connections: live?.connections ?? 0,
      };
    });
  }

  /** Nothing where HAProxy does not answer. */
  async #seen([first]: readonly PlacedServer[]): Promise<readonly ServerStatusRow[]> {
    return first ? this.#look.load(first.pool).catch(() => []) : [];
  }
}
