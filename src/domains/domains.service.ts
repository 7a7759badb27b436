import { Injectable } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { type Completion, COMPLETIONS, McpCompletes } from '../contract/resource.js';
import { ServerNetworks } from '../model/server-networks.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { domainPage } from './domain-page.js';
import {
  addDomain,
  checkAddDomain,
  describeDomain,
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

/** Which names HAProxy answers for, and which pool each goes to. */
@Injectable()
export class DomainsService {
  readonly #networks: ServerNetworks;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    settings: Settings,
  ) {
    this.#networks = new ServerNetworks(settings.allowedServerNetworks);
  }

  @Operation({
    name: 'haproxy_list_domains',
    title: 'List domains',
    description:
      'Lists the domains that HAProxy routes, sorted by name, with the pool of each. Use it to find a domain or to ' +
      'see what shares a pool; narrow with search or pool instead of reading all pages. ' +
      'haproxy_list_servers then shows the servers of one.',
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
      'Makes HAProxy answer for a domain (or a wildcard such as *.example.com), without a reload. Give ip for a first ' +
      'server, or share_with to join the pool of a domain that is there already; with neither the domain answers 503 ' +
      'until haproxy_add_server gives it one. A domain that is known is refused: add servers to it instead. Afterwards ' +
      'haproxy_domain_health tells whether it can be served.',
    output: ChangedDomainDto,
    errors: ['domain_exists', 'domain_not_found', 'pools_exhausted'],
  })
  async add(input: AddDomainDto): Promise<ChangedDomainDto> {
    this.#check(input);
    const { value, planned } = await this.persistence.change(
      (draft) => addDomain(draft, input, this.reconciler.poolLimit),
      input,
    );
    return { ...value, ...planned };
  }

  @Operation({
    name: 'haproxy_put_domain',
    title: 'Make a domain be as given',
    description:
      'Adds the domain if it is new; otherwise gives its one server this address. The same request twice is the same ' +
      'as once. Fails with domain_exists where it would take something from another domain, or a server from the pool.',
    output: ChangedDomainDto,
    idempotent: true,
    errors: ['domain_exists', 'domain_not_found', 'pools_exhausted'],
    // It is haproxy_add_domain for scripts that repeat themselves.
    mcp: false,
  })
  async put(input: AddDomainDto): Promise<ChangedDomainDto> {
    this.#check(input);
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
      'HAProxy stops answering for a domain. If it is the last of its pool, the servers of the pool go with it; if ' +
      'others share the pool, the servers stay. To take servers out of service for a while, use ' +
      'haproxy_set_domain_state instead.',
    output: RemovedDomainDto,
    destructive: true,
    errors: ['domain_not_found'],
  })
  async remove(input: RemoveDomainDto): Promise<RemovedDomainDto> {
    const { value, planned } = await this.persistence.change(
      (draft) => removeDomain(draft, input.domain),
      input,
    );
    return { ...value, ...planned };
  }

  /** What a person who types a name may mean: names that begin so first, then those that hold it elsewhere. */
  @McpCompletes('domain')
  async complete(typed: string): Promise<Completion> {
    const needle = typed.toLowerCase();
    const names = this.persistence.state.domainIndex();
    const begin = names
      .page({ from: needle, limit: COMPLETIONS })
      .items.filter((domain) => domain.startsWith(needle));
    // As many more as may be among those that begin so.
    const { items, total } = names.page({ needle, limit: COMPLETIONS + begin.length });
    return { values: [...begin, ...items.filter((domain) => !domain.startsWith(needle))], total };
  }

  #check(input: AddDomainDto): void {
    checkAddDomain(input);
    if (input.ip !== undefined) this.#networks.check(input.ip);
  }
}
