import type { FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import { includesRole, type Role } from '../contract/role.js';
import { routeMetadataOf, SetRouteMetadata } from '../contract/route-metadata.js';
import type { Principal } from './principal.js';

/** For a route that checks access itself, because only the body says which operation the caller wants. */
export const ChecksAccessItself = (): MethodDecorator => SetRouteMetadata({ checksAccessItself: true });

const MAY: Readonly<Record<Role, string>> = {
  read: 'only read',
  operate: 'read, and change domains, servers and certificates, but nothing else',
  admin: 'do everything',
};

/** @throws AppError forbidden, if the role of the caller is not enough */
export function requireAccess(principal: Principal | undefined, needed: Role): void {
  if (!principal || includesRole(principal.role, needed)) return;
  const who =
    principal.kind === 'network' ? `A caller without a token (TRUSTED_ROLE=${principal.role})` : 'This token';
  throw new AppError(
    'forbidden',
    `${who} may ${MAY[principal.role]}. Use the admin token (MCP_TOKEN) for this call.`,
  );
}

/**
 * Refuses a caller whose role is not enough for the route. For a route without an operation, the method decides.
 *
 * @throws AppError forbidden
 */
export function requireRouteAccess(principal: Principal, request: FastifyRequest): void {
  const { operation, checksAccessItself = false } = routeMetadataOf(request);
  if (!checksAccessItself) requireAccess(principal, operation?.role ?? roleOfMethod(request));
}

function roleOfMethod({ method }: FastifyRequest): Role {
  return method === 'GET' || method === 'HEAD' ? 'read' : 'admin';
}
