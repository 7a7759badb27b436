import type { IncomingMessage, ServerResponse } from 'node:http';
import { NotFoundException } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import type { DeclaredOperation } from '../contract/operation.js';
import { routeMetadataOf } from '../contract/route-metadata.js';
import { withoutTokens } from '../contract/token-secret.js';
import { requireRouteAccess } from './access-rule.js';
import type { AccessGuard } from './access-guard.service.js';
import type { OpenCalls } from './open-calls.js';
import { type Principal, setPrincipal } from './principal.js';
import { collectRoutes, type KnownRoutes } from '../http/known-routes.js';
import { setCrossOriginHeaders, setPreflightHeaders, setSecurityHeaders } from '../http/security-headers.js';

/** Called when a caller may not use an operation that changes something. */
type OnForbidden = (
  operation: DeclaredOperation,
  request: FastifyRequest,
  principal: Principal,
  error: AppError,
) => Promise<void>;

/** Checks access to every route, before any part of a request body is requested or read. */
export function installAccessGuard(
  fastify: FastifyInstance,
  guard: AccessGuard,
  calls: OpenCalls,
  onForbidden: OnForbidden,
): void {
  const routes = collectRoutes(fastify);
  /** Clients that wait for a "100 Continue" before they send their body (RFC 9110, section 10.1.1). */
  const waiting = new WeakSet<IncomingMessage>();
  // With this listener, Node does not send "100 Continue" itself, and closes the connection after a response without it.
  fastify.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    waiting.add(request);
    fastify.server.emit('request', request, response);
  });
  fastify.addHook('onRequest', async (request, reply) => {
    const answered = await checkAccess({ guard, calls, routes, onForbidden }, request, reply);
    if (answered === undefined && waiting.has(request.raw)) reply.raw.writeContinue();
    return answered;
  });
}

interface Needed {
  guard: AccessGuard;
  calls: OpenCalls;
  routes: KnownRoutes;
  onForbidden: OnForbidden;
}

/**
 * Returns the reply if the response is already sent.
 *
 * @throws AppError origin_not_allowed, unauthorized, forbidden, malformed_request, method_not_allowed;
 *   NotFoundException
 */
async function checkAccess(
  { guard, calls, routes, onForbidden }: Needed,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply | undefined> {
  const path = request.url.split('?', 1)[0] ?? '';
  setSecurityHeaders(reply.raw, path);
  reply.raw.setHeader('x-request-id', request.id);
  const origin = guard.names.crossOrigin(request.raw);
  if (origin !== undefined) setCrossOriginHeaders(reply.raw, origin);
  try {
    if (origin !== undefined && isPreflight(request)) {
      guard.names.check(request.raw);
      setPreflightHeaders(reply.raw);
      return reply.status(204).send();
    }
    const otherMethods = request.is404 ? routes.methodsOf(path) : [];
    const principal = await guard.admit(request.raw, !request.is404 || otherMethods.length > 0);
    if (otherMethods.length > 0) throw methodNotAllowed(request, path, otherMethods, reply);
    // Refused here, because a missing route needs no token: its body must not be read.
    if (request.is404) throw new NotFoundException();
    if (!principal) return undefined;
    setPrincipal(request.raw, principal);
    calls.add(principal, request, reply);
    await checkRoute(principal, request, onForbidden);
    return undefined;
  } catch (error) {
    closeAfterResponse(request, reply);
    throw error;
  }
}

/** RFC 9110, section 15.5.6: the answer names the methods that the path has. */
function methodNotAllowed(
  { method }: FastifyRequest,
  path: string,
  methods: readonly string[],
  reply: FastifyReply,
): AppError {
  const allowed = methods.join(', ');
  void reply.header('allow', allowed);
  return new AppError(
    'method_not_allowed',
    `${withoutTokens(path).slice(0, 200)} has no ${method}. It has ${allowed}.`,
  );
}

async function checkRoute(
  principal: Principal,
  request: FastifyRequest,
  onForbidden: OnForbidden,
): Promise<void> {
  try {
    requireRouteAccess(principal, request);
  } catch (error) {
    const { operation } = routeMetadataOf(request);
    if (operation && error instanceof AppError) await onForbidden(operation, request, principal, error);
    throw error;
  }
}

/** Closes the connection of a refused request that has a body, because the server does not read that body. */
function closeAfterResponse({ headers }: FastifyRequest, reply: FastifyReply): void {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  if (hasBody) void reply.header('connection', 'close');
}

function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
}
