import { messageOf } from '../errors/app-error.js';
import type { SiteList, SitesOverview } from '../monitoring/site-rules.js';
import type { FrontendStatus } from '../haproxy/runtime/frontend-status.js';
import type { HealthStatus, SitesComponentDto } from './health.dto.js';
import { worst } from './health-rules.js';

const EMPTY: SiteList = { names: [], total: 0 };
const UNKNOWN: SitesOverview = {
  down: EMPTY,
  maintenance: EMPTY,
  noServers: EMPTY,
  checking: EMPTY,
  serversDown: 0,
};

/** The health component `sites`. A failure to read HAProxy is part of the answer. */
export async function readSitesHealth(
  read: Promise<SitesOverview>,
  frontends: Promise<FrontendStatus>,
  domains: number,
): Promise<SitesComponentDto> {
  try {
    const [overview, { visitors, problems }] = await Promise.all([read, frontends]);
    const health = sitesHealth(overview, domains);
    if (visitors === 'open' || domains === 0) return health;
    if (visitors === 'closed')
      return { ...health, status: 'down', detail: `Visitors reach no domain. ${problems.join(' ')}` };
    const detail = `Visitors wait for a free connection. ${problems.join(' ')} ${health.detail}`;
    return { ...health, status: worst([health.status, 'degraded']), detail };
  } catch (error) {
    const detail = `It is not known which domains are down: ${messageOf(error)}`;
    return { ...sitesHealth(UNKNOWN, domains), status: 'degraded', detail };
  }
}

/**
 * Domains in maintenance and domains without a server do not count as a problem, because an operator set them so.
 * `domains` is the number of all domains.
 */
export function sitesHealth(overview: SitesOverview, domains: number): SitesComponentDto {
  const { down, maintenance, noServers, checking } = overview;
  const sentences = [
    down.total === 0
      ? 'No domain is down.'
      : `${down.total} of ${domains} domain(s) are down, visitors get 503: ${listed(down)}. Use {haproxy_domain_health} for the reason.`,
    ...(maintenance.total === 0
      ? []
      : [
          `${maintenance.total} in maintenance (all servers in state drain or maint): ${listed(maintenance)}.`,
        ]),
    ...(noServers.total === 0 ? [] : [`${noServers.total} without a server: ${listed(noServers)}.`]),
    ...(checking.total === 0 ? [] : [`${checking.total} whose health checks have not finished yet.`]),
  ];
  return {
    status: statusOf(down.total, domains),
    detail: sentences.join(' '),
    down: down.names,
    down_total: down.total,
    maintenance: maintenance.names,
    maintenance_total: maintenance.total,
    no_servers_total: noServers.total,
    checking_total: checking.total,
  };
}

function statusOf(down: number, domains: number): HealthStatus {
  if (down === 0) return 'healthy';
  return down < domains ? 'degraded' : 'down';
}

function listed({ names, total }: SiteList): string {
  const more = total > names.length ? ` and ${total - names.length} more` : '';
  return `${names.join(', ')}${more}`;
}
