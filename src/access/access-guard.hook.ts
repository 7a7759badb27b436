import type { IncomingMessage, ServerResponse } from 'node:http';
import { NotFoundException } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import type { DeclaredOperation } from '../contract/operation.js';
import { routeFactsOf } from '../contract/route-facts.js';
import { requireRightToRoute } from './access-rule.js';
import type { AccessGuard } from './access-guard.service.js';
import { type Principal, setPrincipal } from './principal.js';
import { setCrossOriginHeaders, setPreflightHeaders, setSecurityHeaders } from '../http/security-headers.js';

/** Told of a change that its caller has no right to. */
export type OnForbidden = (
  operation: DeclaredOperation,
  request: FastifyRequest,
  principal: Principal,
  error: AppError,
) => Promise<void>;

/**
 * Puts the door before everything that Fastify serves: who calls, and whether they may, is settled before a byte of a
 * body is asked for or read.
 */
export function installAccessGuard(
  fastify: FastifyInstance,
  door: AccessGuard,
  onForbidden: OnForbidden,
): void {
  /** Clients that wait for a "100 Continue" before they send their body (RFC 9110, section 10.1.1). */
  const waiting = new WeakSet<IncomingMessage>();
  // With a listener Node leaves the "100 Continue" to us, and hangs up after an answer that came without one.
  fastify.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    waiting.add(request);
    fastify.server.emit('request', request, response);
  });
  fastify.addHook('onRequest', async (request, reply) => {
    const answered = await enter(door, request, reply, onForbidden);
    if (answered === undefined && waiting.has(request.raw)) reply.raw.writeContinue();
    return answered;
  });
}

/** Returns the reply where it has been sent. @throws AppError, NotFoundException where the caller may not come in. */
async function enter(
  door: AccessGuard,
  request: FastifyRequest,
  reply: FastifyReply,
  onForbidden: OnForbidden,
): Promise<FastifyReply | undefined> {
  setSecurityHeaders(reply.raw, request.url.split('?', 1)[0] ?? '');
  const origin = door.names.crossOrigin(request.raw);
  if (origin !== undefined) setCrossOriginHeaders(reply.raw, origin);
  try {
    if (origin !== undefined && isPreflight(request)) {
      door.names.check(request.raw);
      setPreflightHeaders(reply.raw);
      return reply.status(204).send();
    }
    const principal = await door.admit(request.raw, !request.is404);
    // At once: nobody has asked these callers for a token, so that their bodies are not read either.
    if (request.is404) throw new NotFoundException();
    if (!principal) return undefined;
    setPrincipal(request.raw, principal);
    await holdToRights(principal, request, onForbidden);
    return undefined;
  } catch (error) {
    hangUpAfter(request, reply);
    throw error;
  }
}

async function holdToRights(
  principal: Principal,
  request: FastifyRequest,
  onForbidden: OnForbidden,
): Promise<void> {
  try {
    requireRightToRoute(principal, request);
  } catch (error) {
    const { operation } = routeFactsOf(request);
    if (operation && error instanceof AppError) await onForbidden(operation, request, principal, error);
    throw error;
  }
}

/** Whoever is refused does not get the rest of a body read before the connection is free again. */
function hangUpAfter({ headers }: FastifyRequest, reply: FastifyReply): void {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  if (hasBody) void reply.header('connection', 'close');
}

function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
}
