import type { FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import { routeMetadataOf, SetRouteMetadata } from '../contract/route-metadata.js';
import type { Principal } from './principal.js';

/** For a route that checks access itself, because only the body says which operation the caller wants. */
export const ChecksAccessItself = (): MethodDecorator => SetRouteMetadata({ checksAccessItself: true });

/** @throws AppError forbidden, if a read-only caller wants to change something */
export function requireAccess(principal: Principal | undefined, isReading: boolean): void {
  if (principal?.readOnly && !isReading)
    throw new AppError('forbidden', 'This token may only read. Use the admin token (MCP_TOKEN) for changes.');
}

/**
 * Refuses a read-only caller on a route that changes something. For a route without an operation, the method decides.
 *
 * @throws AppError forbidden
 */
export function requireRouteAccess(principal: Principal, request: FastifyRequest): void {
  const { operation, checksAccessItself = false } = routeMetadataOf(request);
  if (!checksAccessItself) requireAccess(principal, operation?.readOnly ?? hasReadingMethod(request));
}

function hasReadingMethod({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}
