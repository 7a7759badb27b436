import { Injectable } from '@nestjs/common';
import { NamedTokens } from '../access/named-tokens.js';
import { CertificateViews } from '../certificates/certificate-views.service.js';
import { messageOf } from '../errors/app-error.js';
import { callContext } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { VERSION } from '../lib/version.js';
import { Readiness } from '../signals/readiness.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import { ConfigCheckService } from '../haproxy/config/check/config-check.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { FrontendStatus } from '../haproxy/runtime/frontend-status.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { SuiteRules } from '../haproxy/config/suite/suite-rules.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { SitesService } from '../monitoring/sites.service.js';
import { DriftService } from '../sync/drift.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { ExpiryService } from '../domains/expiry.service.js';
import { ConfigHealth } from './config-health.js';
import { FilesHealth } from './files-health.js';
import { withRules } from './rules-health.js';
import { readSitesHealth } from './sites-health.js';
import { certificatesHealth, withUncovered } from './certificates-health.js';
import { driftHealth, duration, suiteHealth, worst } from './health-rules.js';
import { WorkersHealth } from './workers-health.js';
import {
  CertificatesComponentDto,
  type ComponentsDto,
  HaproxyComponentDto,
  HealthDto,
  SuiteComponentDto,
} from './health.dto.js';

/** If the last comparison is older, a health request starts a new one. The next health request gets its result. */
const DRIFT_AGE_MS = 5_000;

/** The details of what is about all domains. */
const NOT_SHOWN = 'Details are not shown to a token with domains.';

/** What is about all domains, HAProxy or the suite, without details: they can name any domain, server or file. */
function withoutOthers({ config_files, drift, workers, ...rest }: ComponentsDto): ComponentsDto {
  return {
    ...rest,
    config_files: { status: config_files.status, detail: NOT_SHOWN, files: [] },
    drift: { status: 'healthy', detail: NOT_SHOWN, mode: drift.mode, count: 0, differences: [], healed: [] },
    workers: { status: workers.status, detail: NOT_SHOWN, workers: [], removed_servers: [] },
  };
}

/** How many sites with a redirect to https one answer compares with the certificates. */
const REDIRECTED_CHECKED = 1000;

/** The health of the suite, HAProxy, files and certificates. A broken component is part of the answer, never an error. */
@Injectable()
export class HealthService {
  readonly #files: FilesHealth;
  readonly #workers: WorkersHealth;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly drift: DriftService,
    private readonly reconciler: ReconcilerService,
    private readonly readiness: Readiness,
    private readonly settings: Settings,
    private readonly certificates: CertificateViews,
    private readonly sites: SitesService,
    private readonly rules: SuiteRules,
    private readonly guard: ServerGuard,
    private readonly expiry: ExpiryService,
    private readonly tokens: NamedTokens,
    configChecks: ConfigCheckService,
    workers: HaproxyWorkers,
  ) {
    this.#files = new FilesHealth(persistence, settings, new ConfigHealth(configChecks, settings));
    this.#workers = new WorkersHealth(workers, runtime, persistence, reconciler, settings.control);
  }

  @Operation({
    name: 'haproxy_health',
    scope: 'view',
    wanted: { status: ['healthy', 'degraded'] },
    title: 'Health of everything',
    description:
      'Checks the suite, HAProxy, the configuration files, the certificates, the domains that are down, and whether HAProxy has the saved state. ' +
      'Each has a status and a reason; the overall status is the worst of them. Call it first if something is wrong. ' +
      'Next: {haproxy_domain_health} for one domain.',
    output: HealthDto,
    readOnly: true,
    idempotent: true,
  })
  async health(): Promise<HealthDto> {
    const drift = this.drift.report ?? (await this.drift.check());
    const frontends = this.runtime.frontendStatus();
    const { visible: state } = this.persistence;
    const isLimited = callContext().scope?.limitsDomains === true;
    const [haproxy, files, rules, sites, workers] = await Promise.all([
      this.#haproxy(frontends),
      this.#files.check(),
      this.rules.report().catch((error: unknown) => messageOf(error)),
      readSitesHealth(
        isLimited ? this.sites.overviewOf(state) : this.sites.overview(),
        frontends,
        state.domainCount,
      ),
      this.#workers.check(),
    ]);
    const config_files = withRules(files, rules);
    const all: ComponentsDto = {
      mcp: this.#suite(),
      haproxy,
      config_files,
      certificates: await this.#certificates(),
      sites,
      drift: driftHealth(drift, this.settings.reconcile),
      workers,
    };
    const components = isLimited ? withoutOthers(all) : all;
    // In the background, because a comparison of 100,000 names takes too long for one answer.
    this.drift.refresh(DRIFT_AGE_MS);
    return { status: worst(Object.values(components).map(({ status }) => status)), components };
  }

  #suite(): SuiteComponentDto {
    const { visible: state } = this.persistence;
    const isLimited = callContext().scope?.limitsDomains === true;
    const expiry = isLimited ? { overdue: [], count: 0, reason: undefined } : this.expiry.report();
    let servers = 0;
    for (const pool of state.pools.values()) servers += pool.servers.size;
    const facts = {
      version: VERSION,
      uptime_seconds: Math.floor(process.uptime()),
      revision: state.revision,
      domains: state.domainCount,
      servers,
      pools_in_use: state.ownPoolCount,
      pools_total: Math.max(this.settings.poolCount, state.ownPoolCount),
      pools_dynamic: this.reconciler.poolLimit.dynamic,
      forbidden_servers: this.guard.findings(state),
      overdue_domains: expiry.overdue,
      overdue_total: expiry.count,
    };
    if (!isLimited) return suiteHealth(facts, this.readiness.get(), this.tokens.problems, expiry.reason);
    // The reason can name anything.
    return suiteHealth(facts, { ready: this.readiness.get().ready, reason: NOT_SHOWN });
  }

  async #certificates(): Promise<CertificatesComponentDto> {
    const { certificates, broken } = await this.certificates.states();
    return withUncovered(
      certificatesHealth(certificates, callContext().scope?.limitsDomains ? [] : broken),
      await this.#uncovered(),
    );
  }

  /**
   * Sites that send visitors to https, and whose name no certificate has. A trusted proxy in front may have one. A caller that
   * is limited to some domains does not see every certificate that has a name, so it is told of none.
   */
  async #uncovered(): Promise<string[]> {
    if (this.settings.trustedProxies.length > 0 || callContext().scope?.limitsDomains === true) return [];
    const redirected = [...this.persistence.visible.sites]
      .filter(([, site]) => site['https'] === 'redirect')
      .slice(0, REDIRECTED_CHECKED);
    const found: string[] = [];
    for (const [domain] of redirected)
      if ((await this.certificates.filesOfHost(domain)).length === 0) found.push(domain);
    return found;
  }

  async #haproxy(frontends: Promise<FrontendStatus>): Promise<HaproxyComponentDto> {
    try {
      const { problems, visitors } = await frontends;
      const { version, uptimeSeconds, pid, stopping } = await this.runtime.info();
      const facts = { version, uptime_seconds: uptimeSeconds, pid };
      const detail = `HAProxy ${version} answers (pid ${pid}), up for ${duration(uptimeSeconds)}.`;
      if (stopping)
        return {
          status: 'degraded',
          detail: `${detail} It is stopping and accepts no new connections.`,
          ...facts,
        };
      if (problems.length > 0)
        return {
          status: visitors === 'closed' ? 'down' : 'degraded',
          detail: `${detail} ${problems.join(' ')}`,
          ...facts,
        };
      return { status: 'healthy', detail, ...facts };
    } catch (error) {
      return { status: 'down', detail: messageOf(error) };
    }
  }
}
