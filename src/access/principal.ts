import type { IncomingMessage } from 'node:http';
import type { Role } from '../contract/role.js';
import type { Scope } from '../model/scope/scope.js';

/** The caller of a request, as the access guard has identified it. */
export interface Principal {
  kind: 'admin' | 'readonly' | 'token' | 'network';
  /** The name of the token, or network and address, for the audit log. Holds no secret. */
  actor: string;
  /** What the caller may do. */
  role: Role;
  /** What the token is limited to; undefined for a caller without such a limit. */
  scope?: Scope | undefined;
  /** The key of the caller, if its kind and actor do not identify it: a new token can have the name of a revoked one. */
  owner?: string;
}

const principals = new WeakMap<IncomingMessage, Principal>();

export function setPrincipal(request: IncomingMessage, principal: Principal): void {
  principals.set(request, principal);
}

/** Undefined for requests that need no token. */
export function principalOf(request: IncomingMessage): Principal | undefined {
  return principals.get(request);
}

/** The key of a caller for quotas and sessions. */
export function ownerOf({ kind, actor, owner }: Principal): string {
  return owner ?? `${kind} ${actor}`;
}
