import { DOMAIN_RULE, knownDomain } from '../model/domain-name.js';
import { declaredFields } from '../contract/fields/field.js';
import { canonicalIp } from '../model/ip-address.js';
import {
  findPoolOptionsProblem,
  findSiteProblem,
  type PoolOptions,
  type SiteOptions,
} from '../model/options.js';
import { BACKEND_NAME, isPoolName, isSuiteBackend } from '../model/pool-name.js';
import {
  DEFAULT_HTTP_PORT,
  findServerProblem,
  MAX_SLOT,
  type ServerSpec,
  type ServerState,
} from '../model/server.js';
import { DomainRecordDto, TransferServerDto } from './transfer.dto.js';

/** A server of a line. An undefined value keeps the saved value, or gets the default for a new server. */
export interface RecordServer {
  /** 0: the slot that has this address, otherwise the lowest free slot. */
  slot: number;
  ip: string;
  http_port: number;
  weight: number | undefined;
  state: ServerState | undefined;
}

/** A valid line of an import. Names and addresses are canonical. */
export interface DomainRecord {
  line: number;
  domain: string;
  share_with: string | undefined;
  pool: string | undefined;
  servers: readonly RecordServer[];
  /** The operator's backend to point at. */
  backend: string | undefined;
  /** Undefined keeps the options of the pool. */
  options: PoolOptions | undefined;
  /** Undefined keeps the options of the site. */
  site: SiteOptions | undefined;
}

/** A line that is not valid. The message says which field, and what is allowed. */
export class InvalidRecord extends Error {}

const FIELDS = new Set(declaredFields(DomainRecordDto).keys());
const SERVER_FIELDS = new Set(declaredFields(TransferServerDto).keys());
/** The fields that a line with share_with may not have. */
const OWN_POOL_FIELDS = ['pool', 'servers', 'ip', 'http_port', 'options', 'backend'] as const;
/** The fields that a line with backend may not have. */
const NOT_WITH_BACKEND = ['pool', 'servers', 'ip', 'http_port', 'options'] as const;

/**
 * Checks one line by the rules of the DTOs (SPEC section 4). Does not use class-validator, which is many times too slow
 * for 100,000 lines.
 *
 * @throws InvalidRecord
 */
export function parseRecord(line: number, value: unknown): DomainRecord {
  const given = object(value, 'the line', FIELDS);
  const domain = domainName(given['domain'], 'domain');
  const site = given['site'];
  refuse(site === undefined ? undefined : findSiteProblem(site, ['site']));
  const record = {
    line,
    domain,
    share_with: undefined,
    pool: undefined,
    servers: [],
    backend: undefined,
    options: undefined,
    site: site as SiteOptions | undefined,
  };
  if (given['share_with'] !== undefined) {
    const other = OWN_POOL_FIELDS.find((name) => given[name] !== undefined);
    if (other)
      throw new InvalidRecord(`give either share_with (the pool of another domain) or ${other}, not both`);
    return { ...record, share_with: domainName(given['share_with'], 'share_with') };
  }
  if (given['backend'] !== undefined) {
    const other = NOT_WITH_BACKEND.find((name) => given[name] !== undefined);
    if (other) throw new InvalidRecord(`give either backend (of the operator) or ${other}, not both`);
    return { ...record, backend: backendName(given['backend']) };
  }
  const options = given['options'];
  refuse(options === undefined ? undefined : findPoolOptionsProblem(options, ['options']));
  return {
    ...record,
    pool: poolName(given['pool']),
    servers: parseServers(given),
    options: options as PoolOptions | undefined,
  };
}

/** @throws InvalidRecord */
function refuse(problem: ReturnType<typeof findSiteProblem>): void {
  if (problem) throw new InvalidRecord(`${problem.path.join('.')} ${problem.reason}`);
}

function backendName(value: unknown): string {
  if (typeof value === 'string' && BACKEND_NAME.test(value) && !isSuiteBackend(value)) return value;
  throw new InvalidRecord('backend must be the name of a backend in haproxy.cfg, such as be_static');
}

function parseServers(given: Record<string, unknown>): RecordServer[] {
  const { ip, http_port, servers } = given;
  if (ip !== undefined) {
    if (servers !== undefined) throw new InvalidRecord('give either ip or servers, not both');
    return [parseServer({ ip, ...(http_port !== undefined && { http_port }) }, '')];
  }
  if (http_port !== undefined) throw new InvalidRecord('http_port needs ip, which is not given');
  if (servers === undefined) return [];
  if (!Array.isArray(servers) || servers.length > MAX_SLOT)
    throw new InvalidRecord(`servers must be a list of at most ${MAX_SLOT} objects`);
  const parsed = servers.map((server: unknown, index) => parseServer(server, `servers[${index}]`));
  const slots = parsed.map(({ slot }) => slot).filter((slot) => slot > 0);
  const twice = slots.find((slot, index) => slots.indexOf(slot) !== index);
  if (twice !== undefined) throw new InvalidRecord(`servers: slot ${twice} is given twice`);
  return parsed;
}

/** `path`: the path of the server in messages, such as `servers[0]`; empty if its fields are in the line itself. */
function parseServer(value: unknown, path: string): RecordServer {
  const given = object(value, path, SERVER_FIELDS);
  const name = (field: string): string => (path === '' ? field : `${path}.${field}`);
  const ip = typeof given['ip'] === 'string' ? canonicalIp(given['ip']) : undefined;
  const server = { ...given, ip };
  const problem = findServerProblem(server, 0);
  if (problem) throw new InvalidRecord(`${name(problem.field)} must be ${problem.allowed}`);
  const checked = server as Partial<ServerSpec> & { ip: string; slot?: number };
  return {
    slot: checked.slot ?? 0,
    ip: checked.ip,
    http_port: checked.http_port ?? DEFAULT_HTTP_PORT,
    weight: checked.weight,
    state: checked.state,
  };
}

function domainName(value: unknown, field: string): string {
  const domain = typeof value === 'string' ? knownDomain(value) : undefined;
  if (domain === undefined) throw new InvalidRecord(`${field} must be ${DOMAIN_RULE}`);
  return domain;
}

function poolName(value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && isPoolName(value))) return value;
  throw new InvalidRecord('pool must be the name of a pool, such as pool_5');
}

function object(value: unknown, what: string, fields: ReadonlySet<string>): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidRecord(`${what} must be a JSON object`);
  for (const key of Object.keys(value))
    if (!fields.has(key))
      throw new InvalidRecord(
        `${JSON.stringify(key.slice(0, 64))} is not a field here; the fields are ${[...fields].join(', ')}`,
      );
  return withoutNull(value as Record<string, unknown>);
}

/** An optional field that is null counts as not given, as in every request body. A required one is refused later. */
function withoutNull(given: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(given);
  return entries.some(([, value]) => value === null)
    ? Object.fromEntries(entries.filter(([, value]) => value !== null))
    : given;
}
