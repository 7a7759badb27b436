import type { Type } from '@nestjs/common';
import { outOfScope, type Scope } from '../../model/scope/scope.js';
import { callContext } from '../call-context.js';
import { declaredFields } from '../fields/field.js';

/**
 * Refuses an input of a change that names a domain out of scope, before anything looks whether the domain exists. A call that
 * reads gets the answer that it gets for a domain that does not exist.
 *
 * @throws AppError forbidden
 */
export function requireNamesInScope(
  input: object,
  { readOnly }: { readOnly: boolean },
  scope: Scope | undefined,
): void {
  if (!scope?.limitsDomains || readOnly) return;
  for (const [name, { kind }] of declaredFields(input.constructor as Type)) {
    const value: unknown = Reflect.get(input, name);
    if (kind.isDomain && typeof value === 'string' && !scope.includes(value)) throw outOfScope();
  }
}

/**
 * Refuses a backend of the operator that the token of the caller does not list, before HAProxy is asked whether it exists.
 *
 * @throws AppError forbidden
 */
export function requireBackendAllowed(backend: string): void {
  const { scope } = callContext();
  if (scope?.limitsDomains === true && !scope.allowsBackend(backend)) throw outOfScope();
}
