import { canonicalDomain, DOMAIN_RULE } from '../model/domain-name.js';
import { declaredFields } from '../contract/fields/field.js';
import { canonicalIp } from '../model/ip-address.js';
import { isPoolName } from '../model/pool-name.js';
import {
  DEFAULT_HTTP_PORT,
  findServerProblem,
  MAX_SLOT,
  type ServerSpec,
  type ServerState,
} from '../model/server.js';
import { DomainRecordDto, TransferServerDto } from './transfer.dto.js';

/** A server as a line gives it; what is not given stays as it is, or takes its default. */
export interface RecordServer {
  /** 0: the slot that has this address, or the lowest free one. */
  slot: number;
  ip: string;
  http_port: number;
  weight: number | undefined;
  state: ServerState | undefined;
}

/** A line of an import, every value canonical. */
export interface DomainRecord {
  line: number;
  domain: string;
  share_with: string | undefined;
  pool: string | undefined;
  servers: readonly RecordServer[];
}

/** What a line holds that it may not. */
export class WrongRecord extends Error {}

const FIELDS = new Set(declaredFields(DomainRecordDto).keys());
const SERVER_FIELDS = new Set(declaredFields(TransferServerDto).keys());
const OWN_POOL = ['pool', 'servers', 'ip', 'http_port'] as const;

/**
 * Checks one line by the rules that DTOs are checked by (SPEC section 4). A function of its own, because
 * class-validator is many times too slow for 100,000 lines.
 *
 * @throws WrongRecord saying which field, and what is allowed
 */
export function readRecord(line: number, value: unknown): DomainRecord {
  const given = object(value, 'the line', FIELDS);
  const domain = domainName(given['domain'], 'domain');
  const record = { line, domain, share_with: undefined, pool: undefined, servers: [] };
  if (given['share_with'] !== undefined) {
    const other = OWN_POOL.find((name) => given[name] !== undefined);
    if (other)
      throw new WrongRecord(`give either share_with (the pool of another domain) or ${other}, not both`);
    return { ...record, share_with: domainName(given['share_with'], 'share_with') };
  }
  return { ...record, pool: poolName(given['pool']), servers: readServers(given) };
}

function readServers(given: Record<string, unknown>): RecordServer[] {
  const { ip, http_port, servers } = given;
  if (ip !== undefined) {
    if (servers !== undefined) throw new WrongRecord('give either ip or servers, not both');
    return [readServer({ ip, ...(http_port !== undefined && { http_port }) }, '')];
  }
  if (http_port !== undefined) throw new WrongRecord('http_port belongs to ip, which is not given');
  if (servers === undefined) return [];
  if (!Array.isArray(servers) || servers.length > MAX_SLOT)
    throw new WrongRecord(`servers must be a list of at most ${MAX_SLOT} objects`);
  const read = servers.map((server: unknown, index) => readServer(server, `servers[${index}]`));
  const slots = read.map(({ slot }) => slot).filter((slot) => slot > 0);
  const twice = slots.find((slot, index) => slots.indexOf(slot) !== index);
  if (twice !== undefined) throw new WrongRecord(`servers: slot ${twice} is given twice`);
  return read;
}

function readServer(value: unknown, at: string): RecordServer {
  const given = object(value, at, SERVER_FIELDS);
  const name = (field: string): string => (at === '' ? field : `${at}.${field}`);
  const ip = typeof given['ip'] === 'string' ? canonicalIp(given['ip']) : undefined;
  const server = { ...given, ip };
  const problem = findServerProblem(server, 0);
  if (problem) throw new WrongRecord(`${name(problem.field)} must be ${problem.allowed}`);
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
  const domain = typeof value === 'string' ? canonicalDomain(value) : undefined;
  if (domain === undefined) throw new WrongRecord(`${field} must be ${DOMAIN_RULE}`);
  return domain;
}

function poolName(value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && isPoolName(value))) return value;
  throw new WrongRecord('pool must be the name of a pool, such as pool_5');
}

function object(value: unknown, what: string, fields: ReadonlySet<string>): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new WrongRecord(`${what} must be a JSON object`);
  for (const key of Object.keys(value))
    if (!fields.has(key))
      throw new WrongRecord(
        `${JSON.stringify(key.slice(0, 64))} is not a field here; the fields are ${[...fields].join(', ')}`,
      );
  return value as Record<string, unknown>;
}
