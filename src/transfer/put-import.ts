import type { DomainLimits } from '../domains/domain-rules.js';
import { makeDomain } from '../domains/put-rules.js';
import { AppError, type ErrorCode } from '../errors/app-error.js';
import { canonicalDomain, DOMAIN_RULE } from '../model/names/domain-name.js';
import { isSameServer, serverAddress, type ServerSpec } from '../model/server.js';
import type { Draft } from '../model/draft.js';
import type { PutRecord } from './put-record.js';

interface PutLimits extends DomainLimits {
  /** Why no domain can point at a backend; undefined for a backend that can be used. */
  backendProblem?: (backend: string) => string | undefined;
}

/** Called for each line that breaks a rule. Throws if one such line fails the import. */
type OnProblem = (line: number, code: ErrorCode, message: string) => void;

/** Called for each line of a domain that is not there and whose `expires_at` has passed. Such a line is no error: a file keeps it after its domain has ended. */
type OnExpired = (line: number, message: string) => void;

/**
 * Puts the records of an import with mode=put into a draft: each domain becomes as its line says, as with
 * `PUT /domains/{domain}`; a domain of a line with `absent` is removed. Domains without a line stay as they are. The
 * order of the lines does not matter: removed domains come first, so that their pools are free, and a domain comes after
 * the domain that it shares with. A domain whose `expires_at` has passed is not added. For one that exists, such a line is
 * refused, unless the domain has this time already: a wrong date must not remove it.
 */
export function applyPuts(
  draft: Draft,
  records: readonly PutRecord[],
  limits: PutLimits,
  onProblem: OnProblem,
  onExpired: OnExpired = () => undefined,
): void {
  const removed = records.filter(({ absent, domain }) => absent && draft.poolOf(domain) !== undefined);
  draft.removeDomains(removed.map(({ domain }) => domain));
  /** Domains that cannot be put. Only the first problem is reported of those that share with each other. */
  const failed = new Set<string>();
  const expired = new Set<string>();
  const fail = ({ line, domain }: PutRecord, code: ErrorCode, message: string): void => {
    failed.add(domain);
    onProblem(line, code, message);
  };
  for (const record of inOrder(records, fail)) {
    const { domain, input } = record;
    if (failed.has(domain)) continue;
    if (input.share_with !== undefined && failed.has(input.share_with)) {
      failed.add(domain);
      continue;
    }
    const hasPassed = input.expires_at !== undefined && Date.parse(input.expires_at) <= limits.now;
    const exists = draft.poolOf(domain) !== undefined;
    if (hasPassed && !exists) {
      onExpired(record.line, `${domain}: its expires_at ${input.expires_at} has passed, so it is not added`);
      expired.add(domain);
      continue;
    }
    try {
      if (input.share_with !== undefined && expired.has(input.share_with))
        throw new AppError(
          'domain_not_found',
          `share_with: ${input.share_with} is not added, because its expires_at has passed. Give ${domain} servers, or remove ` +
            'both',
        );
      put(draft, record, { ...limits, keepsPast: true });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      fail(record, error.code, error.detail);
    }
  }
  refuseDifferentServers(draft, records, onProblem);
}

function put(draft: Draft, { domain, input }: PutRecord, limits: PutLimits): void {
  const { backend } = input;
  if (draft.poolOf(domain) === undefined && canonicalDomain(domain) === undefined)
    throw new AppError('validation_failed', `domain must be ${DOMAIN_RULE}`);
  // The state may have a backend already that HAProxy lacks for now.
  if (backend !== undefined && !draft.pool(backend)?.external) {
    const problem = limits.backendProblem?.(backend);
    if (problem !== undefined) throw new AppError('validation_failed', `backend: ${problem}`);
  }
  makeDomain(draft, input, limits);
}

/** The records that are not absent, each after the record of the domain that it shares with. */
function inOrder(
  records: readonly PutRecord[],
  fail: (record: PutRecord, code: ErrorCode, message: string) => void,
): PutRecord[] {
  const byDomain = new Map(records.filter(({ absent }) => !absent).map((record) => [record.domain, record]));
  const ordered = new Set<PutRecord>();
  for (const record of byDomain.values()) {
    const chain = new Set<PutRecord>();
    let next: PutRecord | undefined = record;
    while (next && !ordered.has(next) && !chain.has(next)) {
      chain.add(next);
      next = next.input.share_with === undefined ? undefined : byDomain.get(next.input.share_with);
    }
    if (next && chain.has(next)) {
      const members = [...chain];
      const names = members.slice(members.indexOf(next)).map(({ domain }) => domain);
      fail(
        next,
        'validation_failed',
        `share_with goes in a circle: ${[...names, names[0]].join(' → ')}; give one of them its servers`,
      );
    }
    for (const found of [...chain].toReversed()) ordered.add(found);
  }
  return [...ordered];
}

/**
 * Two lines that give different servers to one pool would undo each other with every import. This happens if the domains
 * share the pool already, because `servers` does not take a domain out of its pool.
 */
function refuseDifferentServers(draft: Draft, records: readonly PutRecord[], onProblem: OnProblem): void {
  const declaredFor = new Map<string, PutRecord>();
  for (const record of records) {
    const pool = record.input.servers === undefined ? undefined : draft.poolOf(record.domain);
    if (pool === undefined) continue;
    const other = declaredFor.get(pool);
    if (!other) declaredFor.set(pool, record);
    else if (!haveSameServers(other.servers, record.servers))
      onProblem(
        record.line,
        'domain_exists',
        `${record.domain} and ${other.domain} (line ${other.line}) share ${pool}, and these lines give it different ` +
          `servers. Give ${record.domain} share_with instead; or remove it first, and it gets a pool of its own`,
      );
  }
}

function haveSameServers(one: readonly ServerSpec[], other: readonly ServerSpec[]): boolean {
  const byAddress = new Map(one.map((server) => [serverAddress(server), server]));
  return (
    one.length === other.length &&
    other.every((server) => isSameServer(server, byAddress.get(serverAddress(server))))
  );
}
