import type { FastifyInstance } from 'fastify';
import { type CallContext, runWithCallContext } from '../contract/call-context.js';
import { abortOnClose } from '../lib/abort-on-close.js';
import { routeMetadataOf } from '../contract/route-metadata.js';
import { requireNotEnded } from './open-calls.js';
import { ownerOf, principalOf } from './principal.js';

/** REST callers receive neither progress nor log lines. */
const ignore = () => undefined;

/** Gives services the caller of a REST request, and a signal that is aborted when the caller disconnects. */
export function installCallContext(fastify: FastifyInstance): void {
  fastify.addHook('preHandler', (request, reply, done) => {
    const principal = principalOf(request.raw);
    if (!principal) {
      done();
      return;
    }
    try {
      // The body can arrive long after the headers, with which the token was checked.
      requireNotEnded(reply);
    } catch (error) {
      done(error as Error);
      return;
    }
    let signal: AbortSignal | undefined;
    const call: CallContext = {
      actor: principal.actor,
      via: 'rest',
      requestId: request.id,
      role: principal.role,
      scope: principal.scope,
      owner: ownerOf(principal),
      operation: routeMetadataOf(request).operation,
      signal: () => (signal ??= abortOnClose(reply.raw)),
      progress: ignore,
      log: ignore,
    };
    runWithCallContext(call, done);
  });
}
