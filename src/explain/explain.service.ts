import { Injectable } from '@nestjs/common';
import { CertificateViews } from '../certificates/certificate-views.service.js';
import { callContext } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { parseConfig } from '../haproxy/config/config-parser.js';
import { OperatorConfig, readTextIfPresent } from '../haproxy/config/operator-config.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { withoutOwner } from '../haproxy/runtime/live-site.js';
import {
  isUnpublished,
  isUsed,
  lastCheckOf,
  serverFinder,
  statusOf,
} from '../haproxy/runtime/server-status.js';
import { domainOfMapKey, mapKeyOf, wildcardOf } from '../model/names/domain-name.js';
import { matchDomain } from '../model/names/domain-match.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import { ExplainDto, ExplainResultDto } from './explain.dto.js';
import { explain, type ExplainFacts } from './explain-rules.js';
import { mapKeysOf, requestHost } from './request-host.js';
import { routingConfig } from './routing-config.js';

/** The backends that publish the suite (MCP_PUBLIC_HOST): in suite.cfg, and in a haproxy.cfg of version 0.1. */
const PUBLIC_BACKENDS: readonly string[] = ['suite_mcp', 'suite'];

/** Explains what a visitor of a host gets. Sends no request to a server, and changes nothing. */
@Injectable()
export class ExplainService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly config: OperatorConfig,
    private readonly certificates: CertificateViews,
    private readonly settings: Settings,
  ) {}

  @Operation({
    name: 'haproxy_explain',
    scope: 'view',
    title: 'Explain what a visitor gets',
    description:
      'Tells which domain, pool, servers and certificate answer a host (and path), or why nothing does. Reads the rules ' +
      'in the running HAProxy: the map, the servers, their health checks. Use it first if a site does not answer.',
    output: ExplainResultDto,
    readOnly: true,
    idempotent: true,
    errors: ['haproxy_rejected'],
  })
  async explain({ host: header, path, ip }: ExplainDto): Promise<ExplainResultDto> {
    const host = requestHost(header);
    const { scope } = callContext();
    const isVisible = (domain: string): boolean => scope?.limitsDomains !== true || scope.includes(domain);
    const { suite, map } = this.settings.files;
    const [found, backends, frontends, certificate, rules] = await Promise.all([
      this.runtime.lookUp(mapKeysOf(host)),
      this.runtime.backendNames(),
      this.runtime.frontendStatus(),
      this.certificates.ofHost(host),
      readTextIfPresent(suite),
    ]);
    // A caller that may not see the domain gets the answer for a host without one.
    const entry = found && isVisible(domainOfMapKey(found.key)) ? found : undefined;
    const isPublicHost =
      host === this.settings.publicHost &&
      isVisible(host) &&
      PUBLIC_BACKENDS.some((name) => backends.includes(name));
    const hasBackend = entry !== undefined && backends.includes(entry.pool);
    return explain({
      header,
      host,
      path,
      ip,
      entry,
      site: entry && !isPublicHost ? await this.#site(entry.key, ip, isVisible) : undefined,
      saved: matchDomain(this.persistence.visible, host),
      frontends,
      hasBackend,
      ...(hasBackend && !isPublicHost
        ? await this.#backend(entry.pool)
        : { servers: [], unpublished: false }),
      config: routingConfig([...parseConfig(rules, suite), ...this.config.sections], map),
      isPublicHost,
      ...certificate,
      isLimited: scope?.limitsDomains === true,
    });
  }

  /** The options of a site, without those of a wildcard that the caller may not see. */
  async #site(
    key: string,
    ip: string | undefined,
    isVisible: (domain: string) => boolean,
  ): Promise<ExplainFacts['site']> {
    const site = await this.runtime.readSite(key, ip);
    const wildcard = wildcardOf(domainOfMapKey(key));
    if (!site || wildcard === undefined || isVisible(wildcard)) return site;
    return withoutOwner(site, mapKeyOf(wildcard), this.persistence.visible.site(domainOfMapKey(key)));
  }

  async #backend(backend: string): Promise<Pick<ExplainFacts, 'servers' | 'unpublished'>> {
    const all = await this.runtime.statsOf([backend]);
    const rows = all.filter(({ kind }) => kind === 'server');
    const find = serverFinder([...rows, ...(await this.runtime.trackedRows(rows))]);
    const unpublished = all.some((row) => row.kind === 'backend' && isUnpublished(row));
    const servers = rows.map((row) => {
      const status = statusOf(row, find);
      const weight = row.number('weight');
      return {
        name: row.service,
        address: row.text('addr'),
        weight,
        status,
        used: isUsed(status, weight),
        last_check: lastCheckOf(row),
      };
    });
    return { servers, unpublished };
  }
}
