import { Injectable } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { paginate } from '../contract/pages/page.js';
import { serverName } from '../model/names/pool-name.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import type { ServerStatusRow } from '../haproxy/runtime/server-status.js';
import { requireDomainTag } from '../model/change/domain-tag.js';
import { requireOwnPool } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { Edit } from '../persistence/writer-queue.js';
import { Settings } from '../settings/settings.js';
import {
  addOneServer,
  addServers,
  changeDomainState,
  changeServer,
  removeServer,
  serversOf,
  type PlacedServer,
} from './server-rules.js';
import { RemovedServers } from './removed-servers.service.js';
import { ServerViews } from './server-views.service.js';
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
  type StillOpenDto,
} from './servers.dto.js';

/** How many other domains of the pool an answer names. A pool can have 100,000. */
const SHARED_WITH_SHOWN = 100;
/** A server may be neither a control port nor HAProxy itself. */
const FORBIDDEN = ['server_is_control', 'server_is_haproxy'] as const;

/** The arguments that each change of servers has. */
type ServersChange = Pick<AddServerDto, 'domain' | 'dry_run'>;

/** The servers of each domain: their addresses, states and weights. */
@Injectable()
export class ServersService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly views: ServerViews,
    private readonly removedServers: RemovedServers,
    private readonly settings: Settings,
    private readonly guard: ServerGuard,
  ) {}

  @Operation({
    name: 'haproxy_list_servers',
    scope: 'view',
    title: 'List the servers of a domain',
    description:
      'Lists the servers in the pool of a domain, with the status and the current connections that HAProxy reports. ' +
      'Use it to find the slot of a server before you change it. For health check results use ' +
      '{haproxy_domain_health}.',
    output: ServerListDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found', 'pool_external'],
  })
  async list(input: ListServersDto): Promise<ServerListDto> {
    const state = this.persistence.visible;
    const placed = serversOf(state, input.domain);
    const etag = requireDomainTag(state, input.domain);
    const page = paginate(placed, ({ slot }) => String(slot).padStart(4, '0'), input);
    return { ...page, items: await this.views.describe(page.items), etag };
  }

  @Operation({
    name: 'haproxy_add_server',
    scope: 'change',
    becomesHealthy: true,
    title: 'Add a server',
    description:
      'Adds a server to the pool of a domain. It gets requests at once, for every domain that shares the pool. Slot 0 ' +
      'takes the lowest free slot; a slot that already has this address does not change. For several servers ' +
      'use {haproxy_add_servers}. Next: {haproxy_wait_healthy}.',
    output: ChangedServerDto,
    conditional: true,
    errors: ['domain_not_found', 'pool_external', 'slot_taken', 'pool_full', ...FORBIDDEN],
  })
  async add(input: AddServerDto): Promise<ChangedServerDto> {
    this.guard.check(input);
    return this.#changeOne(
      (draft) => [addOneServer(draft, input.domain, input, this.settings.maxSlots)],
      input,
    );
  }

  @Operation({
    name: 'haproxy_add_servers',
    scope: 'change',
    command: 'servers add-many',
    becomesHealthy: true,
    title: 'Add several servers',
    description:
      'Adds 1 to 10 servers to the pool of a domain, all or none: if one is refused, none is added. Give a list of ' +
      '{slot, ip, http_port, weight}. For more than 10, call it again. ' +
      'Next: {haproxy_wait_healthy}.',
    output: ServersDto,
    conditional: true,
    errors: [
      'domain_not_found',
      'pool_external',
      'slot_taken',
      'pool_full',
      'payload_too_large',
      ...FORBIDDEN,
    ],
  })
  async addMany(input: AddServersDto): Promise<ServersDto> {
    for (const server of input.servers) this.guard.check(server);
    return this.#change(
      (draft) => addServers(draft, input.domain, input.servers, this.settings.maxSlots),
      input,
    );
  }

  @Operation({
    name: 'haproxy_remove_server',
    scope: 'change',
    title: 'Remove a server',
    description:
      'Removes a server from the pool of a domain at once. It gets no new requests; its running requests finish. To let ' +
      'long connections end first, call {haproxy_set_server_state} with drain, then {haproxy_wait_drain}.',
    output: RemovedServerDto,
    conditional: true,
    destructive: true,
    errors: ['domain_not_found', 'pool_external', 'server_not_found'],
  })
  async remove(input: RemoveServerDto): Promise<RemovedServerDto> {
    let removed: PlacedServer[] = [];
    let stillOpen: Promise<StillOpenDto | undefined> | undefined;
    const { value, planned } = await this.persistence.change(
      (draft) => {
        const placed = removeServer(draft, input.domain, input.slot);
        removed = [placed];
        return placed;
      },
      input,
      (stage) => {
        if (stage === 'applied')
          stillOpen = this.removedServers.stillOpen(
            removed,
            '{haproxy_wait_drain} for the same slot tells when it can be stopped.',
          );
      },
    );
    const still_open = await stillOpen;
    return {
      ...(still_open && { still_open }),
      slot: value.slot,
      name: serverName(value.pool, value.slot),
      ip: value.server.ip,
      http_port: value.server.http_port,
      ...planned,
    };
  }

  @Operation({
    name: 'haproxy_set_server_state',
    scope: 'change',
    title: 'Set the state of a server',
    description:
      'Sets the state of one server. ready: it gets requests. drain: it gets only requests of sticky sessions. ' +
      'maint: it gets no requests and no health checks. ' +
      'For maintenance: set drain, call {haproxy_wait_drain}, set maint; afterwards set ready.',
    output: ChangedServerDto,
    conditional: true,
    idempotent: true,
    errors: ['domain_not_found', 'pool_external', 'server_not_found', ...FORBIDDEN],
  })
  async setState(input: SetServerStateDto): Promise<ChangedServerDto> {
    return this.#changeOne(
      (draft) => [changeServer(draft, input.domain, input.slot, { state: input.state })],
      input,
    );
  }

  @Operation({
    name: 'haproxy_set_server_weight',
    scope: 'change',
    title: 'Set the weight of a server',
    description:
      'Sets the share of the requests that a server gets: its weight divided by the sum of the weights in its pool. ' +
      'With 0 it gets no new requests. To shift traffic between two servers, change both weights in steps, and check ' +
      '{haproxy_stats} with scope=server after each step.',
    output: ChangedServerDto,
    conditional: true,
    idempotent: true,
    errors: ['domain_not_found', 'pool_external', 'server_not_found', ...FORBIDDEN],
  })
  async setWeight(input: SetServerWeightDto): Promise<ChangedServerDto> {
    return this.#changeOne(
      (draft) => [changeServer(draft, input.domain, input.slot, { weight: input.weight })],
      input,
    );
  }

  @Operation({
    name: 'haproxy_set_domain_state',
    scope: 'change',
    title: 'Set the state of all servers of a domain',
    description:
      'Sets all servers in the pool of a domain to ready, drain or maint in one change. This also affects the domains ' +
      'that share the pool; the answer names them. With maint, requests get 503. For one server use ' +
      '{haproxy_set_server_state}.',
    output: DomainStateDto,
    conditional: true,
    idempotent: true,
    destructive: true,
    errors: ['domain_not_found', 'pool_external', ...FORBIDDEN],
  })
  async setDomainState(input: SetDomainStateDto): Promise<DomainStateDto> {
    // Read inside the edit, because the domain can be removed before the answer is built.
    const found: ReturnType<typeof requireOwnPool>[] = [];
    const changed = await this.#change((draft) => {
      found[0] = requireOwnPool(draft, input.domain);
      return changeDomainState(draft, input.domain, input.state);
    }, input);
    const name = found[0]?.name ?? '';
    const shared_with = (found[0]?.pool.domains ?? [])
      .slice(0, SHARED_WITH_SHOWN + 1)
      .filter((other) => other !== input.domain)
      .slice(0, SHARED_WITH_SHOWN);
    return { domain: input.domain, pool: name, shared_with, state: input.state, ...changed };
  }

  async #changeOne(edit: Edit<PlacedServer[]>, input: ServersChange): Promise<ChangedServerDto> {
    const {
      servers: [server],
      ...planned
    } = await this.#change(edit, input);
    if (!server) throw new Error('invariant: an edit of one server returns one server');
    return { ...server, ...planned };
  }

  /** Reads the server statuses as soon as HAProxy has the change, while the files are still being committed. */
  async #change(edit: Edit<PlacedServer[]>, input: ServersChange): Promise<ServersDto> {
    let placed: PlacedServer[] = [];
    let statuses: Promise<readonly ServerStatusRow[]> | undefined;
    const { planned } = await this.persistence.change(
      (draft) => {
        placed = edit(draft);
      },
      input,
      (stage) => {
        if (stage === 'applied') statuses = this.views.readStatuses(placed);
      },
    );
    return { servers: await this.views.describe(placed, statuses), ...planned };
  }
}
