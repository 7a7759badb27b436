import { declaredFields } from '../contract/fields/field.js';
import {
  findPoolOptionsProblem,
  findSiteProblem,
  type PoolOptions,
  type SiteOptions,
} from '../model/options/options.js';
import { isPoolName } from '../model/names/pool-name.js';
import { findSiteRuleProblem } from '../model/sites/site-rules.js';
import { MAX_SLOT } from '../model/server.js';
import {
  backendName,
  domainName,
  InvalidRecord,
  objectWith,
  parseServer,
  type RecordServer,
} from './record-values.js';
import { DomainRecordDto, TransferServerDto } from './transfer.dto.js';

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

const FIELDS = new Set(declaredFields(DomainRecordDto).keys());
const SERVER_FIELDS = new Set(declaredFields(TransferServerDto).keys());
const PUT_ONLY = ['absent', 'labels', 'expires_in', 'expires_at'] as const;
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
  const given = objectWith(FIELDS, value, 'the line');
  const domain = domainName(given['domain'], 'domain');
  const putOnly = PUT_ONLY.find((name) => given[name] !== undefined);
  if (putOnly === 'absent') throw new InvalidRecord('absent is only for mode=put', ['absent']);
  if (putOnly !== undefined)
    throw new InvalidRecord(`${putOnly} is only for mode=put. Give site with labels and expires_at`, [
      putOnly,
    ]);
  const site = given['site'];
  refuse(site === undefined ? undefined : findSiteProblem(site, ['site']));
  const unusable = site === undefined ? undefined : findSiteRuleProblem(site as SiteOptions);
  if (unusable) throw new InvalidRecord(`site.${unusable.field} ${unusable.message}`);
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

function parseServers(given: Record<string, unknown>): RecordServer[] {
  const { ip, http_port, servers } = given;
  if (ip !== undefined) {
    if (servers !== undefined) throw new InvalidRecord('give either ip or servers, not both');
    return [parseServer(SERVER_FIELDS, { ip, ...(http_port !== undefined && { http_port }) })];
  }
  if (http_port !== undefined) throw new InvalidRecord('http_port needs ip, which is not given');
  if (servers === undefined) return [];
  if (!Array.isArray(servers) || servers.length > MAX_SLOT)
    throw new InvalidRecord(`servers must be a list of at most ${MAX_SLOT} objects`);
  const parsed = servers.map((server: unknown, index) => parseServer(SERVER_FIELDS, server, index));
  const slots = parsed.map(({ slot }) => slot).filter((slot) => slot > 0);
  const twice = slots.find((slot, index) => slots.indexOf(slot) !== index);
  if (twice !== undefined) throw new InvalidRecord(`servers: slot ${twice} is given twice`);
  return parsed;
}

function poolName(value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && isPoolName(value))) return value;
  throw new InvalidRecord('pool must be the name of a pool, such as pool_5');
}
