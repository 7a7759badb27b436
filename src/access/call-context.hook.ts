import type { FastifyInstance } from 'fastify';
import { type CallContext, runWithCallContext } from '../contract/call-context.js';
import { abortOnClose } from '../lib/abort-on-close.js';
import { principalOf } from './principal.js';

const UNHEARD = () => undefined;

/** Tells services who calls over REST, and when the caller has gone. */
export function installCallContext(fastify: FastifyInstance): void {
  fastify.addHook('preHandler', (request, reply, done) => {
    const principal = principalOf(request.raw);
    if (!principal) {
      done();
      return;
    }
    let signal: AbortSignal | undefined;
    const call: CallContext = {
      actor: principal.actor,
      via: 'rest',
      signal: () => (signal ??= abortOnClose(reply.raw)),
      progress: UNHEARD,
      log: UNHEARD,
    };
    runWithCallContext(call, done);
  });
}
