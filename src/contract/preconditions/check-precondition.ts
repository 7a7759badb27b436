import { AppError } from '../../errors/app-error.js';
import { domainTag } from '../../model/change/domain-tag.js';
import { describeDomain } from '../../model/domain-view.js';
import { requirePool, type StateReader } from '../../model/state.js';
import { callContext } from '../call-context.js';
import { includesTag, type Precondition } from './entity-tags.js';

/** The most servers that an error shows. A pool has at most 1,000. */
const SERVERS_SHOWN = 100;

/**
 * Runs the edit of a domain if the precondition of the caller holds in this state. It runs within a commit, so no other
 * change comes between the check and the edit.
 *
 * @throws AppError revision_mismatch, and what `edit` throws
 */
export function editIfMatches<T>(state: StateReader, domain: string, edit: () => T): T {
  const refusal = findRefusal(state, domain, callContext().precondition);
  if (!refusal) return edit();
  // RFC 9110, section 13.2.1: a request that fails also without its precondition, here with 404, has that error.
  if (state.poolOf(domain) === undefined) edit();
  throw refusal;
}

function findRefusal(
  state: StateReader,
  domain: string,
  { ifMatch, ifNoneMatch }: Precondition = {},
): AppError | undefined {
  const present = domainTag(state, domain);
  if (ifMatch && !includesTag(ifMatch, present))
    return refusalOf(
      state,
      domain,
      present === undefined
        ? `There is no domain ${domain}, so it has no etag.`
        : `${domain} now has the etag ${present}, not the given one: it or its pool was changed.`,
    );
  if (ifNoneMatch && includesTag(ifNoneMatch, present))
    return refusalOf(
      state,
      domain,
      ifNoneMatch === '*'
        ? `${domain} exists already, and with If-None-Match: * the request only creates it.`
        : `${domain} has the etag ${present}, which If-None-Match names.`,
    );
  return undefined;
}

function refusalOf(state: StateReader, domain: string, reason: string): AppError {
  const exists = state.poolOf(domain) !== undefined;
  const next = exists
    ? 'Look at its present value, decide again, and repeat the call with the present etag.'
    : 'To add it, call {haproxy_add_domain}.';
  return new AppError(
    'revision_mismatch',
    `${reason} Nothing was changed. ${next}`,
    exists ? { existing: presentValue(state, domain) } : {},
  );
}

/** The saved values of the domain. */
function presentValue(state: StateReader, domain: string): object {
  const { servers } = requirePool(state, domain).pool;
  return {
    ...describeDomain(state, domain),
    servers: [...servers]
      .toSorted(([a], [b]) => a - b)
      .slice(0, SERVERS_SHOWN)
      .map(([slot, server]) => Object.assign({ slot }, server)),
    etag: domainTag(state, domain),
  };
}
