import { checkAddDomain, type DeclaredDomain } from '../domains/domain-rules.js';
import { findSiteInputProblem } from '../domains/site-options.js';
import { AppError } from '../errors/app-error.js';
import { EXPIRES_IN_RULE, isExpiresIn } from '../model/options/expiry.js';
import { type Labels, LABELS_RULE, labelsRule } from '../model/options/labels.js';
import type { SiteOptions } from '../model/options/options.js';
import { TIME_RULE, isTime } from '../model/options/date-time.js';
import { canonicalIp, IP_RULE } from '../model/addresses/ip-address.js';
import { DEFAULT_WEIGHT, findServerProblem, MAX_SLOT, type ServerSpec } from '../model/server.js';
import { backendName, domainName, InvalidRecord, objectWith, parseServer } from './record-values.js';

/** The fields of the body of `PUT /domains/{domain}`. A test compares them with the DTO, which loads too much here. */
export const PUT_FIELDS = [
  'ip',
  'http_port',
  'servers',
  'share_with',
  'backend',
  'labels',
  'site',
  'expires_in',
  'expires_at',
] as const;
export const PUT_SERVER_FIELDS = ['ip', 'http_port', 'weight', 'state'] as const;

const FIELDS: ReadonlySet<string> = new Set(['domain', ...PUT_FIELDS, 'absent']);
const SERVER_FIELDS: ReadonlySet<string> = new Set(PUT_SERVER_FIELDS);

/** A valid line of an import with mode=put. Names and addresses are canonical. */
export interface PutRecord {
  line: number;
  domain: string;
  /** The domain is removed, if it exists. */
  absent: boolean;
  input: DeclaredDomain;
  /** The servers that it names, in `servers` or with `ip`. */
  servers: readonly ServerSpec[];
}

/**
 * Checks one line by the rules of the DTO of PUT, as `parseRecord` does for the other modes.
 *
 * @throws InvalidRecord
 */
export function parsePutRecord(line: number, value: unknown): PutRecord {
  const given = objectWith(FIELDS, value, 'the line');
  const domain = domainName(given['domain'], 'domain');
  if (given['absent'] !== undefined) {
    if (given['absent'] !== true) throw new InvalidRecord('absent must be true, or not be given', ['absent']);
    const other = PUT_FIELDS.find((field) => given[field] !== undefined);
    if (other !== undefined) throw new InvalidRecord(`${other} is not allowed together with absent`, [other]);
    return { line, domain, absent: true, input: { domain }, servers: [] };
  }
  const input = declared(domain, given);
  refuseContradiction(input);
  const { servers, ip, http_port } = input;
  const named = servers ?? (ip === undefined ? [] : [{ ip, http_port: http_port ?? 80 }]);
  return {
    line,
    domain,
    absent: false,
    input,
    servers: named.map((server) => ({ weight: DEFAULT_WEIGHT, state: 'ready', ...server })),
  };
}

function declared(domain: string, given: Record<string, unknown>): DeclaredDomain {
  const { ip, http_port, servers, share_with, backend, labels, site, expires_in, expires_at } = given;
  return {
    domain,
    ...(ip !== undefined && { ip: address(ip) }),
    ...(http_port !== undefined && { http_port: port(http_port) }),
    ...(servers !== undefined && { servers: serverList(servers) }),
    ...(share_with !== undefined && { share_with: domainName(share_with, 'share_with') }),
    ...(backend !== undefined && { backend: backendName(backend) }),
    ...(labels !== undefined && { labels: labelsOf(labels) }),
    ...(site !== undefined && { site: siteOf(site) }),
    ...(expires_in !== undefined && { expires_in: duration(expires_in) }),
    ...(expires_at !== undefined && { expires_at: time(expires_at) }),
  };
}

function labelsOf(value: unknown): Labels {
  const problem = labelsRule(value, ['labels']);
  if (problem) {
    const key = problem.path[1];
    const which = key === undefined ? '' : ` (not so: ${JSON.stringify(String(key).slice(0, 64))})`;
    throw new InvalidRecord(`labels must be ${LABELS_RULE}${which}`, problem.path);
  }
  return value as Labels;
}

function siteOf(value: unknown): SiteOptions {
  const problem = findSiteInputProblem(value);
  if (problem)
    throw new InvalidRecord(
      `${['site', problem.field].filter((part) => part !== '').join('.')} ${problem.message}`,
      ['site'],
    );
  return value as SiteOptions;
}

function duration(value: unknown): string {
  if (typeof value === 'string' && isExpiresIn(value)) return value;
  throw new InvalidRecord(`expires_in must be ${EXPIRES_IN_RULE}`, ['expires_in']);
}

function time(value: unknown): string {
  if (isTime(value)) return value;
  throw new InvalidRecord(`expires_at must be ${TIME_RULE}`, ['expires_at']);
}

function address(value: unknown): string {
  const ip = typeof value === 'string' ? canonicalIp(value) : undefined;
  if (ip === undefined) throw new InvalidRecord(`ip must be ${IP_RULE}`, ['ip']);
  return ip;
}

function port(value: unknown): number {
  const problem = findServerProblem({ ip: '127.0.0.1', http_port: value });
  if (problem) throw new InvalidRecord(`http_port must be ${problem.allowed}`, ['http_port']);
  return value as number;
}

function serverList(value: unknown): ServerSpec[] {
  if (!Array.isArray(value) || value.length > MAX_SLOT)
    throw new InvalidRecord(`servers must be a list of at most ${MAX_SLOT} objects`, ['servers']);
  return value.map((server: unknown, index) => {
    const { ip, http_port, weight, state } = parseServer(SERVER_FIELDS, server, index);
    return { ip, http_port, weight: weight ?? DEFAULT_WEIGHT, state: state ?? 'ready' };
  });
}

/** @throws InvalidRecord if two fields contradict each other, or a server is given twice */
function refuseContradiction(input: DeclaredDomain): void {
  try {
    checkAddDomain(input);
  } catch (error) {
    if (!(error instanceof AppError) || !error.errors) throw error;
    const [first] = error.errors;
    const [, field = '', index] = /^(\w+)(?:\[(\d+)\])?/.exec(first?.field ?? '') ?? [];
    throw new InvalidRecord(`${first?.field} ${first?.message}`, [field, ...(index ? [Number(index)] : [])]);
  }
}
