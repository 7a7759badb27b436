import { Gauge, type Registry } from 'prom-client';
import type { PersistenceService } from '../persistence/persistence.service.js';
import type { SitesOverview } from './site-rules.js';
import type { SitesService } from './sites.service.js';

/**
 * Adds the gauges of domains: how many are down, and the pool of each. At most `domainLimit` domains get a series of
 * their own, because each costs memory in Prometheus.
 */
export function addSiteGauges(
  register: Registry,
  sites: SitesService,
  persistence: Pick<PersistenceService, 'state'>,
  domainLimit: number,
): void {
  // Without an answer of HAProxy the value is not known: NaN, and not 0.
  const count = (read: (overview: SitesOverview) => number) => sites.overview().then(read, () => Number.NaN);
  const gauge = (name: string, help: string, value: () => number | Promise<number>) =>
    new Gauge({
      name: `haproxy_suite_${name}`,
      help,
      registers: [register],
      async collect() {
        this.set(await value());
      },
    });
  gauge(
    'servers_down',
    'Servers in state ready that HAProxy does not use, because their health check failed.',
    () => count(({ serversDown }) => serversDown),
  );
  gauge('domains_down', 'Domains whose visitors get 503 although a server is in state ready.', () =>
    count(({ down }) => down.total),
  );
  gauge('domains_in_maintenance', 'Domains whose servers are all in state drain or maint.', () =>
    count(({ maintenance }) => maintenance.total),
  );
  gauge('domains_without_servers', 'Domains whose pool has no server.', () =>
    count(({ noServers }) => noServers.total),
  );
  gauge('domain_info_omitted', 'Domains that haproxy_suite_domain_info leaves out (METRICS_DOMAINS).', () =>
    Math.max(0, persistence.state.domainCount - domainLimit),
  );
  let revision: number | undefined;
  register.registerMetric(
    new Gauge({
      name: 'haproxy_suite_domain_info',
      help: 'The pool (HAProxy backend) of a domain. The value is always 1.',
      labelNames: ['domain', 'pool'],
      registers: [],
      collect() {
        const { state } = persistence;
        if (revision === state.revision) return;
        revision = state.revision;
        this.reset();
        for (const domain of state.sortedDomains().slice(0, domainLimit))
          this.set({ domain, pool: state.poolOf(domain) ?? '' }, 1);
      },
    }),
  );
}
