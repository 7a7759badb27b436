import { type BlockList } from 'node:net';
import { AppError } from '../../errors/app-error.js';
import { addressesReachedBy } from '../addresses/forbidden-server.js';
import { contains, networks } from '../addresses/ip-address.js';
import { canonicalDomain, isWildcard } from '../names/domain-name.js';
import { BACKEND_NAME } from '../names/pool-name.js';
import {
  booleanRule,
  integerRule,
  type JsonProblem,
  type JsonRule,
  listRule,
  networkRule,
  objectRule,
  textRule,
} from '../options/json-rule.js';

/** What limits a token, as `tokens.json` has it. Valid by `findScopeProblem`. */
export interface ScopeFields {
  /** Domains, and `*.example.com` for all domains below `example.com`. Absent: all domains. */
  readonly domains?: readonly string[] | undefined;
  /** Whether wildcards that match only domains in scope are in scope. Default false. */
  readonly wildcards?: boolean | undefined;
  /** Backends of the operator that domains may point at. */
  readonly backends?: readonly string[] | undefined;
  /** The networks that servers may be in. */
  readonly servers?: readonly string[] | undefined;
  readonly max_domains?: number | undefined;
  readonly max_certificates?: number | undefined;
}

export const SCOPE_KEYS = [
  'domains',
  'wildcards',
  'backends',
  'servers',
  'max_domains',
  'max_certificates',
] as const;

/** The most entries of each list. */
export const MAX_SCOPE_ENTRIES = 100;
export const MAX_COUNT = 1_000_000;
export const SCOPE_DOMAIN_RULE =
  'domains such as www.example.com, or *.example.com for every domain below example.com';

/**
 * Addresses that a token with `domains` may not use as servers: what listens there serves this machine, and not visitors.
 * The metadata services of clouds give the credentials of the machine to every client.
 */
const LOCAL_AND_METADATA = networks([
  '127.0.0.0/8',
  '::1/128',
  // Link-local. 169.254.169.254 and others are metadata services of most clouds.
  '169.254.0.0/16',
  'fe80::/10',
  // Metadata of AWS (IMDS, EKS), Google Cloud and Scaleway over IPv6.
  'fd00:ec2::/32',
  'fd20:ce::254/128',
  'fd00:42::42/128',
  // Alibaba Cloud, Azure (WireServer), Oracle Cloud.
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
]);

const lengthRule =
  (item: JsonRule): JsonRule =>
  (value, path) =>
    Array.isArray(value) && (value.length === 0 || value.length > MAX_SCOPE_ENTRIES)
      ? { path, reason: `must have 1 to ${MAX_SCOPE_ENTRIES} entries` }
      : listRule(item)(value, path);

const domainRule: JsonRule = (value, path) =>
  typeof value === 'string' && canonicalDomain(value) !== undefined
    ? undefined
    : { path, reason: `must be one of ${SCOPE_DOMAIN_RULE}` };

const FIELDS = objectRule({
  domains: lengthRule(domainRule),
  wildcards: booleanRule,
  backends: lengthRule(textRule(BACKEND_NAME, 'the name of a backend in haproxy.cfg, such as be_static')),
  servers: lengthRule(networkRule),
  max_domains: integerRule(0, MAX_COUNT),
  max_certificates: integerRule(0, MAX_COUNT),
});

/** The first problem in what limits a token; undefined if it is valid. */
export function findScopeProblem(fields: ScopeFields): JsonProblem | undefined {
  const found = FIELDS(fields, []);
  if (found) return found;
  return fields.wildcards !== undefined && fields.domains === undefined
    ? { path: ['wildcards'], reason: 'says which of domains are meant, so domains must be given too' }
    : undefined;
}

/** What a token is limited to. Pure; `fields` must be valid. */
export class Scope {
  readonly #exact: ReadonlySet<string>;
  /** `.example.com` for `*.example.com`. */
  readonly #below: ReadonlySet<string>;
  readonly #backends: ReadonlySet<string>;
  readonly #servers: BlockList | undefined;

  constructor(readonly fields: ScopeFields) {
    const domains = (fields.domains ?? []).map((domain) => canonicalDomain(domain) ?? domain);
    this.#exact = new Set(domains.filter((domain) => !isWildcard(domain)));
    this.#below = new Set(domains.filter((domain) => isWildcard(domain)).map((domain) => domain.slice(1)));
    this.#backends = new Set(fields.backends);
    this.#servers = fields.servers && networks(fields.servers);
  }

  /** Whether there are domains that are not in scope. */
  get limitsDomains(): boolean {
    return this.fields.domains !== undefined;
  }

  /** Texts of which every domain in scope has at least one. */
  get texts(): readonly string[] {
    return [...this.#exact, ...this.#below];
  }

  /**
   * Whether a domain is in scope; with a path, whether its host is. A wildcard is in scope if the token may have wildcards,
   * and if every host that it matches is in scope.
   */
  includes(domain: string): boolean {
    if (!this.limitsDomains) return true;
    const slash = domain.indexOf('/');
    const host = slash === -1 ? domain : domain.slice(0, slash);
    if (host.startsWith('*') && this.fields.wildcards !== true) return false;
    if (this.#exact.has(host)) return true;
    for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1))
      if (this.#below.has(host.slice(dot))) return true;
    return false;
  }

  includesAll(domains: readonly string[]): boolean {
    return domains.every((domain) => this.includes(domain));
  }

  /** Whether domains may point at this backend of the operator. */
  allowsBackend(name: string): boolean {
    return this.#backends.has(name);
  }

  /** @throws AppError forbidden, if a server may not have this canonical address */
  checkServer(ip: string): void {
    const listed = this.#servers;
    if (listed && !contains(listed, ip))
      throw new AppError(
        'forbidden',
        `${ip} is not in ${this.fields.servers?.join(', ')}, the networks that this token may use for servers. Use an address in one of them.`,
      );
    if (!this.limitsDomains) return;
    const isFree = (one: string): boolean =>
      !contains(LOCAL_AND_METADATA, one) || (listed !== undefined && contains(listed, one));
    if (addressesReachedBy(ip).every((one) => isFree(one))) return;
    throw new AppError(
      'forbidden',
      `${ip} is a loopback, link-local or metadata address, which a token with domains may not use as a server. Use ` +
        'another address, or a token whose servers list this network.',
    );
  }
}

/** The one answer to each call that names or touches something out of scope. It says nothing about what there is. */
export function outOfScope(): AppError {
  return new AppError(
    'forbidden',
    'This token is limited to some domains. The call names another one, or changes a pool that is not theirs alone. ' +
      'Nothing was changed. Use a token without this limit.',
  );
}
