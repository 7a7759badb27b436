import type { FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import { HasRouteFacts, routeFactsOf } from '../contract/route-facts.js';
import type { Principal } from './principal.js';

/** For a route that finds out only from the body what is asked for, and checks access itself. */
export const ChecksAccessItself = (): MethodDecorator => HasRouteFacts({ checksAccessItself: true });

/** @throws AppError forbidden */
export function requireRight(principal: Principal | undefined, reads: boolean): void {
  if (principal?.readOnly && !reads)
    throw new AppError('forbidden', 'This token may only read. Use the admin token (MCP_TOKEN) for changes.');
}

/**
 * Holds a read-only caller to what reads. A route that serves no declared operation reads if its method does.
 *
 * @throws AppError forbidden
 */
export function requireRightToRoute(principal: Principal, request: FastifyRequest): void {
  const { operation, checksAccessItself = false } = routeFactsOf(request);
  if (!checksAccessItself) requireRight(principal, operation?.readOnly ?? isReading(request));
}

function isReading({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}
