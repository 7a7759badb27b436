import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { type CertificateExpiry, CertificateViews } from '../certificates/certificate-views.service.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { suiteMetrics } from '../lib/metrics.js';
import { VERSION } from '../lib/version.js';
import { Readiness } from '../signals/readiness.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { addWorkerGauges } from './worker-metrics.js';
import { DriftService } from '../sync/drift.service.js';
import { Settings } from '../settings/settings.js';
import { addDiskGauges } from './disk-metrics.js';
import { addSiteGauges } from './site-metrics.js';
import { SitesService } from './sites.service.js';

/** The metrics for Prometheus: the counters of lib/metrics, gauges of the current state, and the Node.js process. */
@Injectable()
export class MetricsService {
  readonly #registry: Registry;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly drift: DriftService,
    private readonly readiness: Readiness,
    private readonly settings: Settings,
    private readonly certificates: CertificateViews,
    workers: HaproxyWorkers,
    sites: SitesService,
  ) {
    const gauges = new Registry();
    // Includes the event loop lag (nodejs_eventloop_lag_seconds and its percentiles).
    collectDefaultMetrics({ register: gauges });
    this.#addStateGauges(gauges);
    this.#addCertificateGauges(gauges);
    addWorkerGauges(gauges, workers);
    addDiskGauges(gauges, settings.files.servers);
    addSiteGauges(gauges, sites, persistence, settings.metricsDomains);
    this.#registry = Registry.merge([suiteMetrics, gauges]);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #addStateGauges(register: Registry): void {
    const { persistence, settings, drift, readiness } = this;
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name: `haproxy_suite_${name}`,
        help,
        registers: [register],
        collect() {
          this.set(value());
        },
      });
    gauge('revision', 'Revision of the saved state.', () => persistence.state.revision);
    gauge('domains', 'Domains in the saved state.', () => persistence.state.domainCount);
    gauge('servers', 'Servers in the saved state.', () => {
      let servers = 0;
      for (const pool of persistence.state.pools.values()) servers += pool.servers.size;
      return servers;
    });
    gauge(
      'pools_in_use',
      'Pools that have a domain, without backends of the operator.',
      () => persistence.state.ownPoolCount,
    );
    gauge('pools', 'Pools that always exist (HAPROXY_POOL_COUNT).', () => settings.poolCount);
    gauge(
      'drift',
      'Current differences between HAProxy and the saved state.',
      () => drift.report?.count ?? 0,
    );
    gauge('ready', '1 if HAProxy is known to have the saved state, otherwise 0.', () =>
      Number(readiness.get().ready),
    );
    const info = new Gauge({
      name: 'haproxy_suite_info',
      help: 'The version of the suite.',
      labelNames: ['version'],
      registers: [register],
    });
    info.set({ version: VERSION }, 1);
  }

  #addCertificateGauges(register: Registry): void {
    let running: Promise<Map<string, CertificateExpiry>> | undefined;
    // The gauges of one scrape are collected at the same time, and share one look at the files.
    const expiries = () =>
      (running ??= this.certificates.expiries().finally(() => {
        running = undefined;
      }));
    const gauge = (name: string, help: string, value: (expiry: CertificateExpiry) => number) =>
      register.registerMetric(
        new Gauge({
          name: `haproxy_suite_${name}`,
          help,
          labelNames: ['domain'],
          registers: [],
          async collect() {
            const found = await expiries();
            this.reset();
            for (const [domain, expiry] of found) this.set({ domain }, value(expiry));
          },
        }),
      );
    gauge('certificate_days_left', 'Days until a certificate expires.', ({ daysLeft }) => daysLeft);
    gauge(
      'certificate_alarm',
      'Whether a certificate ends too soon for its lifetime, as health says: 0 no, 1 degraded, 2 down.',
      ({ alarm }) => ['healthy', 'degraded', 'down'].indexOf(alarm),
    );
  }
}
