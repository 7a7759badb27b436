import type { IncomingMessage } from 'node:http';

/** Who a request comes from, as the door found out. */
export interface Principal {
  kind: 'admin' | 'readonly' | 'network';
  /** For the audit log: the token's name, or network and address. Never a secret. */
  actor: string;
  /** May call only what reads. */
  readOnly: boolean;
}

const principals = new WeakMap<IncomingMessage, Principal>();

export function setPrincipal(request: IncomingMessage, principal: Principal): void {
  principals.set(request, principal);
}

/** Undefined for the few requests that need no token. */
export function principalOf(request: IncomingMessage): Principal | undefined {
  return principals.get(request);
}

/** Whose share of what is limited it counts for. */
export function ownerOf({ kind, actor }: Principal): string {
  return `${kind} ${actor}`;
}
