import { DOMAINS_RECORDED } from '../contract/call-context.js';
import type { FormerValues } from '../model/change/former.js';
import type { Scope } from '../model/scope/scope.js';
import type { AuditLine } from '../storage/audit-log.js';
import { namesIn } from './names-in.js';

type Line = Pick<AuditLine, 'arguments' | 'before'>;

/** Whether a line names domains, only such that are in scope, and all domains of the servers and options that it has. */
export function isLineInScope(line: Line, scope: Scope): boolean {
  const { to } = line.arguments;
  // The new name of a domain, or a new address.
  const renamed = typeof to === 'string' ? [to] : [];
  const names = [...namesIn(line.arguments), ...renamed, ...namesIn(line.before)];
  return names.length > 0 && scope.includesAll(names) && namesAll(line);
}

/**
 * Whether the line names each domain of the servers and options that it has. A change of one domain names those that share
 * its pool. Other changes, such as an import, name the domains of a pool only if all of them have left it.
 */
function namesAll({ arguments: given, before }: Line): boolean {
  // A full list may have been cut.
  if (listIn(given['domains']).length >= DOMAINS_RECORDED) return false;
  const { domains, servers, pools, more }: Partial<FormerValues> = before ?? {};
  if (more !== undefined) return false;
  if (typeof given['domain'] === 'string') return true;
  const named = new Set(
    listIn(domains)
      .filter((one) => one.share_with === undefined)
      .map((one) => one.pool),
  );
  return [...listIn(servers), ...listIn(pools)].every(({ pool }) => named.has(pool));
}

function listIn<T>(value: readonly T[] | undefined): readonly T[];
function listIn(value: unknown): readonly unknown[];
function listIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
