import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../errors/app-error.js';
import { invalidField } from '../errors/invalid-fields.js';
import { wildcardOf } from '../model/names/domain-name.js';
import { readerAfter } from '../model/sites/site-maps.js';
import { findOptionProblem, findRedirectCircle } from '../model/sites/site-rules.js';
import type { Scope } from '../model/scope/scope.js';
import type { StateDelta, StateReader } from '../model/state.js';

/**
 * Refuses options of sites that cannot be carried out, whatever the way in is: PUT, an import, an undo or a rename. An
 * option that stays as it was is not checked again.
 *
 * @throws AppError validation_failed
 */
export function refuseInvalidSites(delta: StateDelta, before: StateReader, scope?: Scope): void {
  for (const [domain, site] of delta.sites ?? []) {
    const former = before.site(domain);
    for (const [option, value] of Object.entries(site ?? {})) {
      if (isDeepStrictEqual(former?.[option], value)) continue;
      const problem = findOptionProblem(option, value);
      if (problem)
        throw invalidField(
          `site.${problem.field}`,
          problem.message,
          `This is of ${domain}. Nothing was changed.`,
        );
    }
  }
  refuseCircles(delta, before, scope);
}

/**
 * A removal is never refused: a name that expires must go. A circle through sites that the caller may not see is accepted: the
 * refusal would tell of them.
 */
function refuseCircles(delta: StateDelta, before: StateReader, scope: Scope | undefined): void {
  const after = readerAfter(delta, before);
  const starts = new Set<string>();
  for (const [domain, site] of delta.sites ?? []) if (site?.['redirect'] !== undefined) starts.add(domain);
  for (const [domain, pool] of delta.domains) {
    if (pool === undefined || before.poolOf(domain) !== undefined) continue;
    starts.add(domain);
    starts.add(wildcardOf(domain) ?? domain);
  }
  for (const domain of starts) {
    if (after.poolOf(domain) === undefined) continue;
    const circle = findRedirectCircle(after, domain);
    if (circle && (scope === undefined || scope.includesAll(circle)))
      throw new AppError(
        'validation_failed',
        circle.length === 2
          ? `${domain} would redirect to itself. Give redirect.to another host. Nothing was changed.`
          : `These sites would redirect in a circle: ${circle.join(' → ')}. Remove one of the redirects first. Nothing was changed.`,
        { errors: [{ field: 'site.redirect.to', message: `is a circle: ${circle.join(' → ')}` }] },
      );
  }
}
