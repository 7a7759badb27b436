import { declaredFields } from '../fields/field.js';
import type { DeclaredOperation } from '../operation.js';
import type { Role } from '../role.js';

export function hasDryRun({ input, readOnly }: Pick<DeclaredOperation, 'input' | 'readOnly'>): boolean {
  return !readOnly && input !== undefined && declaredFields(input).has('dry_run');
}

/** The least role for a call. A dry run of a change changes nothing, so a caller that may only read may ask for its plan. */
export function leastRole(operation: DeclaredOperation, isDryRun: boolean): Role {
  return isDryRun && operation.role === 'operate' && hasDryRun(operation) ? 'read' : operation.role;
}
