import { DOMAIN_RULE, knownDomain } from '../model/names/domain-name.js';
import { canonicalIp } from '../model/addresses/ip-address.js';
import { BACKEND_NAME, isSuiteBackend } from '../model/names/pool-name.js';
import { DEFAULT_HTTP_PORT, findServerProblem, type ServerSpec, type ServerState } from '../model/server.js';

/** Where a value is in a line: `['servers', 0, 'ip']`. */
export type RecordPath = readonly (string | number)[];

/** A line that is not valid. The message says which field, and what is allowed. */
export class InvalidRecord extends Error {
  constructor(
    message: string,
    /** The field; empty if the whole line is not valid. */
    readonly path: RecordPath = [],
  ) {
    super(message);
  }
}

/** A server of a line. An undefined value keeps the saved value, or gets the default for a new server. */
export interface RecordServer {
  /** 0: the slot that has this address, otherwise the lowest free slot. */
  slot: number;
  ip: string;
  http_port: number;
  weight: number | undefined;
  state: ServerState | undefined;
}

/** `index`: its place in `servers`; undefined if its fields are in the line itself. */
export function parseServer(fields: ReadonlySet<string>, value: unknown, index?: number): RecordServer {
  const path: RecordPath = index === undefined ? [] : ['servers', index];
  const what = index === undefined ? '' : `servers[${index}]`;
  const given = objectWith(fields, value, what, path);
  const name = (field: string): string => (index === undefined ? field : `${what}.${field}`);
  const ip = typeof given['ip'] === 'string' ? canonicalIp(given['ip']) : undefined;
  const server = { ...given, ip };
  const problem = findServerProblem(server, 0);
  if (problem)
    throw new InvalidRecord(`${name(problem.field)} must be ${problem.allowed}`, [...path, problem.field]);
  const checked = server as Partial<ServerSpec> & { ip: string; slot?: number };
  return {
    slot: checked.slot ?? 0,
    ip: checked.ip,
    http_port: checked.http_port ?? DEFAULT_HTTP_PORT,
    weight: checked.weight,
    state: checked.state,
  };
}

export function backendName(value: unknown): string {
  if (typeof value === 'string' && BACKEND_NAME.test(value) && !isSuiteBackend(value)) return value;
  throw new InvalidRecord('backend must be the name of a backend in haproxy.cfg, such as be_static', [
    'backend',
  ]);
}

export function domainName(value: unknown, field: string): string {
  const domain = typeof value === 'string' ? knownDomain(value) : undefined;
  if (domain === undefined) throw new InvalidRecord(`${field} must be ${DOMAIN_RULE}`, [field]);
  return domain;
}

/** An object that has only these fields, without those that are null. */
export function objectWith(
  fields: ReadonlySet<string>,
  value: unknown,
  what: string,
  path: RecordPath = [],
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidRecord(`${what} must be a JSON object`, path);
  for (const key of Object.keys(value))
    if (!fields.has(key))
      throw new InvalidRecord(
        `${JSON.stringify(key.slice(0, 64))} is not a field here; the fields are ${[...fields].join(', ')}`,
        [...path, key],
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
