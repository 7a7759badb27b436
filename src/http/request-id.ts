import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Ids of clients and proxies: UUIDs, ULIDs, trace ids and the like. No character that a log or a header could misread. */
const SANE = /^[\w.:-]{1,128}$/;

/**
 * The id of a request, in its answer (`X-Request-Id`), in log lines and in audit lines. An id that the client sends is
 * kept if it is a short word, so that one id finds the request in the logs of all programs.
 */
export function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && SANE.test(given) ? given : randomUUID();
}
