import type { FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import { hasDryRun, leastRole } from '../contract/dry-run/least-role.js';
import type { DeclaredOperation } from '../contract/operation.js';
import { includesRole, type Role } from '../contract/role.js';
import { isDocsPath } from '../contract/openapi.js';
import { routeMetadataOf, SetRouteMetadata } from '../contract/route-metadata.js';
import type { Principal } from './principal.js';

/** For a route that checks access itself, because only the body says which operation the caller wants. */
export const ChecksAccessItself = (): MethodDecorator => SetRouteMetadata({ checksAccessItself: true });

const MAY: Readonly<Record<Role, string>> = {
  read: 'only read',
  operate: 'read, and change domains, servers and certificates, but nothing else',
  admin: 'do everything',
};

/** @throws AppError forbidden, if the role or the limits of the caller do not allow a call of the operation */
export function requireOperation(
  principal: Principal,
  operation: DeclaredOperation,
  isDryRun: boolean,
  howToDryRun: string,
): void {
  requireForScope(principal, operation);
  const mayDryRun = hasDryRun(operation) && includesRole(principal.role, leastRole(operation, true));
  requireRole(principal, leastRole(operation, isDryRun), mayDryRun ? `, or ${howToDryRun} for its plan` : '');
}

/** Whether a caller may call the operation at all: its role, and for a token with domains also what the operation is about. */
export function mayCall(
  { role, scope }: Pick<Principal, 'role' | 'scope'>,
  operation: Pick<DeclaredOperation, 'role' | 'scope'>,
): boolean {
  return includesRole(role, operation.role) && !(scope?.limitsDomains === true && isAboutAll(operation));
}

/** An operation that does not declare it is about everything. */
function isAboutAll({ scope }: { scope?: DeclaredOperation['scope'] }): boolean {
  return scope === undefined || scope === 'all';
}

/** @throws AppError forbidden, if the token has domains, and the operation is about all domains or HAProxy as a whole */
export function requireForScope(
  { scope }: Pick<Principal, 'scope'>,
  operation: Pick<DeclaredOperation, 'scope'> | undefined,
): void {
  if (scope?.limitsDomains !== true || (operation && !isAboutAll(operation))) return;
  throw new AppError(
    'forbidden',
    'This token is limited to some domains, and this call is about all of them, or about HAProxy or the suite as a whole. ' +
      'Use a token without this limit.',
  );
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
  else {
    if (!isDocsPath(request.url.split('?', 1)[0] ?? '')) requireForScope(principal, undefined);
    requireRole(principal, roleOfMethod(request));
  }
}

/** Only the query, because the body is read after this check. `installDryRun` lets true in the query win. */
function asksForDryRun({ query }: FastifyRequest): boolean {
  return (query as { dry_run?: unknown } | null)?.dry_run === 'true';
}

function roleOfMethod({ method }: FastifyRequest): Role {
  return method === 'GET' || method === 'HEAD' ? 'read' : 'admin';
}
