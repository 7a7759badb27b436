import { Injectable } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { type Completion, COMPLETIONS, McpCompletes } from '../contract/resource.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { RemovedServers } from '../servers/removed-servers.service.js';
import { requirePool } from '../model/state.js';
import { type PlacedServer, serversOf } from '../servers/server-rules.js';
import type { StillOpenDto } from '../servers/servers.dto.js';
import {
  addDomain,
  checkAddDomain,
  describeDomain,
  domainPage,
  invalidBackend,
  putDomain,
  removeDomain,
  SHARED_WITH_LISTED,
} from './domain-rules.js';
import {
  AddDomainDto,
  ChangedDomainDto,
  DomainListDto,
  ListDomainsDto,
  RemoveDomainDto,
  RemovedDomainDto,
} from './domains.dto.js';

/** The errors of adding a domain, besides those of every change. */
const ADD_ERRORS = [
  'domain_exists',
  'domain_not_found',
  'forbidden',
  'pools_exhausted',
  'server_is_control',
  'server_is_haproxy',
] as const;

/** The domains that HAProxy routes, and the pool of each. */
@Injectable()
export class DomainsService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly guard: ServerGuard,
    private readonly removedServers: RemovedServers,
  ) {}

  @Operation({
    name: 'haproxy_list_domains',
    title: 'List domains',
    description:
      'Lists the domains that HAProxy routes, sorted by name, with the pool of each. Use it to find a domain, or the ' +
      'domains that share a pool; filter with search or pool to read fewer pages. ' +
      'Next: haproxy_list_servers for the servers of a domain.',
    output: DomainListDto,
    readOnly: true,
    idempotent: true,
  })
  async list(input: ListDomainsDto): Promise<DomainListDto> {
    const { state } = this.persistence;
    const page = domainPage(state, input);
    return {
      ...page,
      items: page.items.map((domain) => describeDomain(state, domain, SHARED_WITH_LISTED)),
    };
  }

  @Operation({
    name: 'haproxy_add_domain',
    title: 'Add a domain',
    description:
      'Routes a domain (or a wildcard such as *.example.com) to a pool, without a reload. Give ip for its first server, ' +
      'share_with to join the pool of an existing domain, or backend for a backend in haproxy.cfg. With none, requests get 503 ' +
      'until haproxy_add_server adds a server. Fails if the domain exists: add servers to it instead. ' +
      'Next: haproxy_wait_healthy, which waits until its servers have passed their first health check.',
    output: ChangedDomainDto,
    errors: ADD_ERRORS,
  })
  async add(input: AddDomainDto): Promise<ChangedDomainDto> {
    await this.#check(input);
    const { value, planned } = await this.persistence.change(
      (draft) => addDomain(draft, input, this.reconciler.poolLimit),
      input,
    );
    return { ...value, ...planned };
  }

  @Operation({
    name: 'haproxy_put_domain',
    title: 'Add or update a domain',
    description:
      'Adds the domain, or sets the address of its only server if it exists. A repeated request changes nothing. ' +
      'Fails with domain_exists if it would affect another domain or remove a server.',
    output: ChangedDomainDto,
    idempotent: true,
    errors: ADD_ERRORS,
    // For scripts that repeat requests. A model uses haproxy_add_domain.
    mcp: false,
  })
  async put(input: AddDomainDto): Promise<ChangedDomainDto> {
    await this.#check(input);
    const { value, planned } = await this.persistence.change(
      (draft) => putDomain(draft, input, this.reconciler.poolLimit),
      input,
    );
    return { ...value, ...planned };
  }

  @Operation({
    name: 'haproxy_remove_domain',
    title: 'Remove a domain',
    description:
      'Stops routing a domain. The servers of its pool are removed too, unless other domains share the pool. ' +
      'To take the servers out of service only for some time, use haproxy_set_domain_state instead.',
    output: RemovedDomainDto,
    destructive: true,
    errors: ['domain_not_found'],
  })
  async remove(input: RemoveDomainDto): Promise<RemovedDomainDto> {
    let removed: PlacedServer[] = [];
    let stillOpen: Promise<StillOpenDto | undefined> | undefined;
    const { value, planned } = await this.persistence.change(
      (draft) => {
        // The servers of a backend of the operator stay.
        const isExternal = requirePool(draft, input.domain).pool.external === true;
        const servers = isExternal ? [] : serversOf(draft, input.domain);
        const answer = removeDomain(draft, input.domain);
        removed = answer.pool_freed ? servers : [];
        return answer;
      },
      input,
      (stage) => {
        if (stage === 'applied')
          stillOpen = this.removedServers.stillOpen(
            removed,
            '{haproxy_health} (workers) tells when no worker has it.',
          );
      },
    );
    const still_open = await stillOpen;
    return { ...value, ...(still_open && { still_open }), ...planned };
  }

  /** Completes a partly typed domain: first the domains that start with the text, then the domains that contain it. */
  @McpCompletes('domain')
  async complete(typed: string): Promise<Completion> {
    const needle = typed.toLowerCase();
    const names = this.persistence.state.domainIndex();
    const matchingStart = names
      .page({ from: needle, limit: COMPLETIONS })
      .items.filter((domain) => domain.startsWith(needle));
    // This page can contain the domains of the first list again.
    const { items, total } = names.page({ needle, limit: COMPLETIONS + matchingStart.length });
    return { values: [...matchingStart, ...items.filter((domain) => !domain.startsWith(needle))], total };
  }

  /** Asks HAProxy for the backend, if the input has one. */
  async #check(input: AddDomainDto): Promise<void> {
    checkAddDomain(input);
    if (input.ip !== undefined) this.guard.check({ ip: input.ip, http_port: input.http_port });
    if (input.backend === undefined) return;
    const problem = (await this.runtime.findBackendProblems([input.backend])).get(input.backend);
    if (problem !== undefined) throw invalidBackend(problem);
  }
}
