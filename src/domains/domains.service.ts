import { Injectable } from '@nestjs/common';
import { CertificateViews } from '../certificates/certificate-views.service.js';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { requireBackendAllowed } from '../contract/input/names-in-scope.js';
import { Operation } from '../contract/operation.js';
import { type Completion, COMPLETIONS, McpCompletes } from '../contract/resource.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { SteadyClock } from '../lib/steady-clock.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { RemovedServers } from '../servers/removed-servers.service.js';
import { requireDomainTag } from '../model/change/domain-tag.js';
import { describeDomain } from '../model/domain-view.js';
import { requirePool } from '../model/state.js';
import { type PlacedServer, SERVERS_SHOWN } from '../servers/server-rules.js';
import { ServerViews } from '../servers/server-views.service.js';
import { Settings } from '../settings/settings.js';
import type { StillOpenDto } from '../servers/servers.dto.js';
import {
  addDomain,
  checkAddDomain,
  type DomainLimits,
  domainPage,
  invalidBackend,
  removeDomain,
  renameDomain,
  SHARED_WITH_LISTED,
} from './domain-rules.js';
import {
  AddDomainDto,
  ChangedDomainDto,
  DomainDetailsDto,
  DomainListDto,
  ListDomainsDto,
  PutDomainDto,
  PutDomainResultDto,
  RemoveDomainDto,
  RemovedDomainDto,
  RenameDomainDto,
  RenamedDomainDto,
} from './domains.dto.js';
import { placedServers, type PutDomain, putDomain } from './put-rules.js';
import { checkSiteInput, setSiteOptions } from './site-options.js';
import { SetSiteDto } from './site.dto.js';
import { type CertificateFiles, renamedCertificate } from './rename-rules.js';

/** The errors of adding a domain, besides those of every change. */
const ADD_ERRORS = [
  'domain_exists',
  'domain_not_found',
  'forbidden',
  'pool_full',
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
    private readonly settings: Settings,
    private readonly views: ServerViews,
    private readonly removedServers: RemovedServers,
    private readonly certificates: CertificateViews,
    private readonly clock: SteadyClock,
  ) {}

  @Operation({
    name: 'haproxy_list_domains',
    scope: 'view',
    title: 'List domains',
    description:
      'Lists the domains that HAProxy routes, sorted by name, with the pool of each. Use it to find a domain, or the ' +
      'domains that share a pool; filter to read fewer pages. ' +
      'Next: {haproxy_list_servers} for the servers of a domain.',
    output: DomainListDto,
    readOnly: true,
    idempotent: true,
  })
  async list(input: ListDomainsDto): Promise<DomainListDto> {
    const state = this.persistence.visible;
    const page = domainPage(state, input, this.clock.latest());
    return {
      ...page,
      items: page.items.map((domain) => describeDomain(state, domain, SHARED_WITH_LISTED)),
    };
  }

  @Operation({
    name: 'haproxy_get_domain',
    scope: 'view',
    title: 'Show a domain',
    description:
      'Shows one domain: its pool, the other domains of the pool, its servers with the status and connections that HAProxy ' +
      'reports, and the certificate that visitors get. The servers of a backend in haproxy.cfg are not listed: see ' +
      '{haproxy_explain}. Use {haproxy_domain_health} for the results of health checks.',
    output: DomainDetailsDto,
    readOnly: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  async get({ domain }: DomainRefDto): Promise<DomainDetailsDto> {
    const state = this.persistence.visible;
    const described = describeDomain(state, domain);
    const { name, pool } = requirePool(state, domain);
    const etag = requireDomainTag(state, domain);
    const [servers, certificate] = await Promise.all([
      this.views.describe(placedServers(name, pool).slice(0, SERVERS_SHOWN)),
      this.certificates.ofHost(domain),
    ]);
    const { options } = pool;
    return { ...described, servers, ...(options && { pool_options: options }), ...certificate, etag };
  }

  @Operation({
    name: 'haproxy_add_domain',
    scope: 'change',
    becomesHealthy: true,
    title: 'Add a domain',
    description:
      'Routes a domain (or a wildcard such as *.example.com) to a pool, without a reload. Give ip or servers for a pool of ' +
      'its own, share_with to join the pool of an existing domain, or backend for a backend in haproxy.cfg. With none, ' +
      'requests get 503 until a server is added. Fails if the domain exists: {haproxy_put_domain} changes it. ' +
      'Next: {haproxy_wait_healthy}.',
    output: ChangedDomainDto,
    errors: ADD_ERRORS,
  })
  async add(input: AddDomainDto): Promise<ChangedDomainDto> {
    await this.#check(input);
    const { value, planned } = await this.persistence.change(
      (draft) => addDomain(draft, input, this.#limits),
      input,
    );
    return { ...value, ...planned };
  }

  @Operation({
    name: 'haproxy_put_domain',
    scope: 'change',
    becomesHealthy: true,
    title: 'Make a domain as given',
    description:
      'Adds a domain, or changes it to what is given, in one change. servers replaces all ' +
      'servers of its pool, also for domains that share the pool. A field that is not given keeps its value. ip sets the ' +
      'address of the only server; share_with and backend move the domain. Use dry_run first to see what would be removed.',
    output: PutDomainResultDto,
    conditional: true,
    destructive: true,
    idempotent: true,
    errors: [...ADD_ERRORS, 'pool_external'],
  })
  async put(input: PutDomainDto): Promise<PutDomainResultDto> {
    await this.#check(input);
    let put: PutDomain | undefined;
    let stillOpen: Promise<StillOpenDto | undefined> | undefined;
    let statuses: ReturnType<ServerViews['readStatuses']> | undefined;
    const { value, planned } = await this.persistence.change(
      (draft) => {
        put = putDomain(draft, input, this.#limits);
        return put;
      },
      input,
      (stage) => {
        if (stage !== 'applied' || !put) return;
        statuses = this.views.readStatuses(put.servers);
        stillOpen = this.removedServers.stillOpen(
          put.removed,
          '{haproxy_health} (workers) tells when no worker has it.',
        );
      },
    );
    const { domain, result, also_changed, servers } = value;
    const still_open = await stillOpen;
    return {
      ...domain,
      result,
      servers: await this.views.describe(servers, statuses),
      also_changed,
      ...(still_open && { still_open }),
      ...planned,
    };
  }

  @Operation({
    name: 'haproxy_set_site',
    command: 'domains set-site',
    scope: 'change',
    title: 'Set site options',
    description:
      'Replaces all options of a site. A name under a wildcard inherits deny, allow, maintenance, rate_limit.',
    output: ChangedDomainDto,
    conditional: true,
    destructive: true,
    idempotent: true,
    errors: ['domain_not_found'],
  })
  async setSite(input: SetSiteDto): Promise<ChangedDomainDto> {
    checkSiteInput(input.site, 'site');
    const { value, planned } = await this.persistence.change((draft) => {
      requirePool(draft, input.domain);
      setSiteOptions(draft, input.domain, input.site);
      return describeDomain(draft, input.domain);
    }, input);
    return { ...value, ...planned };
  }

  @Operation({
    name: 'haproxy_rename_domain',
    scope: 'change',
    title: 'Rename a domain',
    description:
      'Gives a domain another name, in one change and without a failed request. Its pool, servers, options, labels and expiry stay. ' +
      'Certificates do not move: the answer names the files of both names; {haproxy_issue_cert} makes a new one. To serve ' +
      'both names, use {haproxy_add_domain} with share_with.',
    output: RenamedDomainDto,
    conditional: true,
    destructive: true,
    errors: ['domain_exists', 'domain_not_found', 'forbidden', 'server_is_control', 'server_is_haproxy'],
  })
  async rename(input: RenameDomainDto): Promise<RenamedDomainDto> {
    const { domain, to } = input;
    const files = await this.#certificateFiles(domain, to);
    const { value, planned } = await this.persistence.change(
      (draft) => renameDomain(draft, domain, to),
      input,
      undefined,
      // With a new server of another edit in the same plan, the former name would go before the new one exists.
      { alone: true, renamedTo: to },
    );
    return {
      ...value,
      former_name: domain,
      certificate: renamedCertificate(domain, to, files),
      ...planned,
    };
  }

  @Operation({
    name: 'haproxy_remove_domain',
    scope: 'change',
    title: 'Remove a domain',
    description:
      'Stops routing a domain. The servers of its pool are removed too, unless other domains share the pool. ' +
      'With missing_ok a domain that does not exist is no error. ' +
      'To take the servers out of service only for some time, use {haproxy_set_domain_state} instead.',
    output: RemovedDomainDto,
    conditional: true,
    destructive: true,
    errors: ['domain_not_found'],
  })
  async remove(input: RemoveDomainDto): Promise<RemovedDomainDto> {
    let removed: PlacedServer[] = [];
    let stillOpen: Promise<StillOpenDto | undefined> | undefined;
    const { value, planned } = await this.persistence.change(
      (draft) => {
        const name = draft.poolOf(input.domain);
        const pool = name === undefined ? undefined : draft.pool(name);
        const servers = name === undefined || !pool ? [] : placedServers(name, pool);
        const answer = removeDomain(draft, input);
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
    const names = this.persistence.visible.domainIndex();
    const matchingStart = names
      .page({ from: needle, limit: COMPLETIONS })
      .items.filter((domain) => domain.startsWith(needle));
    // This page can contain the domains of the first list again.
    const { items, total } = names.page({ needle, limit: COMPLETIONS + matchingStart.length });
    return { values: [...matchingStart, ...items.filter((domain) => !domain.startsWith(needle))], total };
  }

  get #limits(): DomainLimits {
    return {
      pools: this.reconciler.poolLimit,
      slots: this.settings.maxSlots,
      now: this.clock.latest(),
    };
  }

  /** Asks HAProxy for the backend, if the input has one. PersistenceService checks the servers. */
  async #check(input: AddDomainDto): Promise<void> {
    checkAddDomain(input);
    const { backend } = input;
    if (backend === undefined) return;
    requireBackendAllowed(backend);
    const problem = (await this.runtime.findBackendProblems([backend])).get(backend);
    if (problem !== undefined) throw invalidBackend(problem);
  }

  async #certificateFiles(domain: string, to: string): Promise<CertificateFiles | undefined> {
    try {
      const [former, renamed] = await Promise.all(
        [domain, to].map((name) => this.certificates.filesOfHost(name)),
      );
      const paths = (files: typeof former) => files?.map(({ path }) => path) ?? [];
      return { former: paths(former), renamed: paths(renamed) };
    } catch {
      return undefined;
    }
  }
}
