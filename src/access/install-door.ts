import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { DoorService } from './door.service.js';
import { setPrincipal } from './principal.js';
import { setCrossOriginHeaders, setPreflightHeaders, setSecurityHeaders } from './security-headers.js';

/** Puts the door before everything that Fastify serves, and before any body is read. */
export function installDoor(fastify: FastifyInstance, door: DoorService): void {
  fastify.addHook('onRequest', (request, reply) => enter(door, request, reply));
}

/** @throws AppError where the caller may not come in. */
async function enter(door: DoorService, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
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
    if (principal) setPrincipal(request.raw, principal);
    return undefined;
  } catch (error) {
    // Whoever is refused does not get the rest of a body read before the connection is free again.
    if (hasBody(request)) void reply.header('connection', 'close');
    throw error;
  }
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
}
