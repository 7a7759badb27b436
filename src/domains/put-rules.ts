import { AppError } from '../errors/app-error.js';
import { describeDomain, otherDomains } from '../model/domain-view.js';
import { DEFAULT_HTTP_PORT, serverAddress } from '../model/server.js';
import type { Draft } from '../model/draft.js';
import { type Pool, requireOwnPool, requirePool } from '../model/state.js';
import type { RemovedServer } from '../servers/removed-servers.service.js';
import { type PlacedServer, SERVERS_SHOWN, setServers } from '../servers/server-rules.js';
import {
  addDomain,
  type DeclaredDomain,
  type DomainLimits,
  newServer,
  refuseLonePort,
  specOf,
} from './domain-rules.js';
import { setMarks } from './expiry-rules.js';
import type { AddDomainDto, DomainDto, PutDomainResultDto } from './domains.dto.js';

/** What a PUT made of a domain. */
export interface PutDomain extends Pick<PutDomainResultDto, 'result' | 'also_changed'> {
  domain: DomainDto;
  /** The servers of the pool by slot, at most 100. */
  servers: PlacedServer[];
  /** Servers of the former pool that the change removed. All are of one pool. */
  removed: RemovedServer[];
}

/**
 * A PUT of a domain, and what it made of it.
 *
 * @throws AppError as `makeDomain`
 */
export function putDomain(draft: Draft, input: AddDomainDto, limits: DomainLimits): PutDomain {
  const { domain } = input;
  const former = draft.poolOf(domain) === undefined ? undefined : requirePool(draft, domain);
  makeDomain(draft, input, limits);
  const { name, pool } = requirePool(draft, domain);
  const changesOthers = former?.name === name && former.pool.servers !== pool.servers;
  return {
    domain: describeDomain(draft, domain),
    result: former ? (draft.isEmpty ? 'unchanged' : 'changed') : 'created',
    also_changed: changesOthers ? otherDomains(pool, domain) : [],
    servers: placedServers(name, pool).slice(0, SERVERS_SHOWN),
    removed: former ? removedServers(former.name, former.pool, draft.pool(former.name)) : [],
  };
}

/**
 * Makes the domain be as given, and adds it if it does not exist. A field that is not given keeps its value.
 *
 * @throws AppError domain_exists, domain_not_found, pools_exhausted, pool_external, pool_full
 */
export function makeDomain(draft: Draft, input: DeclaredDomain, limits: DomainLimits): void {
  const name = draft.poolOf(input.domain);
  if (name === undefined) addDomain(draft, input, limits);
  else {
    changeDomain(draft, input, { name }, limits);
    setMarks(draft, input.domain, input, limits);
  }
}

function changeDomain(
  draft: Draft,
  input: DeclaredDomain,
  { name }: { name: string },
  limits: DomainLimits,
): void {
  const { domain, backend, share_with, servers, ip, http_port } = input;
  if (backend !== undefined) {
    if (backend !== name) draft.moveDomain(domain, backend, true);
  } else if (share_with !== undefined) {
    const other = requirePool(draft, share_with).name;
    if (other !== name) draft.moveDomain(domain, other);
  } else if (servers !== undefined) {
    const declared = servers.map((server) => specOf(server));
    setServers(draft, domain, declared, limits.slots);
  } else if (ip !== undefined || http_port !== undefined) setAddress(draft, domain, ip, http_port);
}

/**
 * Sets the address of the only server. The short form says nothing about other servers and other domains, so it neither
 * removes a server nor changes another domain.
 */
function setAddress(draft: Draft, domain: string, ip: string | undefined, port: number | undefined): void {
  const { name, pool } = requireOwnPool(draft, domain);
  const isWanted = (server: { ip: string; http_port: number }) =>
    (ip === undefined || server.ip === ip) && (port === undefined || server.http_port === port);
  if ([...pool.servers.values()].some((server) => isWanted(server))) return;
  if (pool.servers.size > 1 || pool.domains.length > 1) throw notOnlyServer(draft, domain, pool);
  const [only] = pool.servers;
  if (only) {
    const [slot, server] = only;
    draft.putServer(name, slot, { ...server, ip: ip ?? server.ip, http_port: port ?? server.http_port });
  } else if (ip !== undefined) draft.putServer(name, 1, newServer(ip, port ?? DEFAULT_HTTP_PORT));
  else if (port !== undefined) refuseLonePort({ http_port: port });
}

function notOnlyServer(draft: Draft, domain: string, { servers, domains }: Pool): AppError {
  const why =
    servers.size > 1
      ? `${domain} has ${servers.size} servers`
      : `${domain} shares its pool with ${domains.length - 1} other domain(s)`;
  return new AppError(
    'domain_exists',
    `${why}, and ip and http_port change only the one server of one domain. Give servers instead, with all servers ` +
      'that the pool should have. Nothing was changed.',
    { existing: describeDomain(draft, domain) },
  );
}

/** The servers of a pool by slot. */
export function placedServers(name: string, { servers }: Pool): PlacedServer[] {
  return [...servers].toSorted(([a], [b]) => a - b).map(([slot, server]) => ({ pool: name, slot, server }));
}

/** The servers of `former` whose address the pool does not have any more. */
function removedServers(name: string, former: Pool, present: Pool | undefined): RemovedServer[] {
  const kept = new Set([...(present?.servers.values() ?? [])].map((server) => serverAddress(server)));
  return placedServers(name, former)
    .filter(({ server }) => !kept.has(serverAddress(server)))
    .map((removed) => Object.assign(removed, { readdressed: present?.servers.has(removed.slot) ?? false }));
}
