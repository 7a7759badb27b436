import type { FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import { hasDryRun, leastRole } from '../contract/dry-run/least-role.js';
import type { DeclaredOperation } from '../contract/operation.js';
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

/** @throws AppError forbidden, if the role of the caller is not enough for a call of the operation */
export function requireOperation(
  principal: Principal,
  operation: DeclaredOperation,
  isDryRun: boolean,
  howToDryRun: string,
): void {
  const mayDryRun = hasDryRun(operation) && includesRole(principal.role, leastRole(operation, true));
  requireRole(principal, leastRole(operation, isDryRun), mayDryRun ? `, or ${howToDryRun} for its plan` : '');
}

/** @throws AppError forbidden, if the role of the caller is not enough. `alternative` ends the sentence on what to do. */
export function requireRole(principal: Principal, needed: Role, alternative = ''): void {
  if (includesRole(principal.role, needed)) return;
  const who =
    principal.kind === 'network' ? `A caller without a token (TRUSTED_ROLE=${principal.role})` : 'This token';
  throw new AppError(
    'forbidden',
    `${who} may ${MAY[principal.role]}. Use the admin token (MCP_TOKEN) for this call${alternative}.`,
  );
}

/**
 * Refuses a caller whose role is not enough for the route. For a route without an operation, the method decides.
 *
 * @throws AppError forbidden
 */
export function requireRouteAccess(principal: Principal, request: FastifyRequest): void {
  const { operation, checksAccessItself = false } = routeMetadataOf(request);
  if (checksAccessItself) return;
  if (operation)
    requireOperation(principal, operation, asksForDryRun(request), 'send dry_run=true in the query');
  else requireRole(principal, roleOfMethod(request));
}

/** Only the query, because the body is read after this check. `installDryRun` lets true in the query win. */
function asksForDryRun({ query }: FastifyRequest): boolean {
  return (query as { dry_run?: unknown } | null)?.dry_run === 'true';
}

function roleOfMethod({ method }: FastifyRequest): Role {
  return method === 'GET' || method === 'HEAD' ? 'read' : 'admin';
}
