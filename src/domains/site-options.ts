import { invalidField } from '../errors/invalid-fields.js';
import { findSiteProblem, type SiteOptions } from '../model/options/options.js';
import { isMark, MARKS } from '../model/sites/site-options.js';
import { findSiteRuleProblem } from '../model/sites/site-rules.js';
import type { Draft } from '../model/draft.js';

/** What is wrong with the options that a caller gives, and where; undefined if they can be used. Pure. */
export function findSiteInputProblem(given: unknown): { field: string; message: string } | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    return { field: '', message: 'must be an object' };
  const mark = MARKS.find((name) => Object.hasOwn(given, name));
  if (mark !== undefined)
    return { field: mark, message: 'is a field of the domain itself, and not of its site' };
  const problem = findSiteProblem(given);
  if (problem) return { field: fieldOf(problem.path), message: problem.reason };
  return findSiteRuleProblem(given as SiteOptions);
}

/**
 * Checks the options of a site that a caller gives. `field` is the field that holds them; empty if they are fields
 * themselves.
 *
 * @throws AppError validation_failed
 */
export function checkSiteInput(given: SiteOptions, field: string): void {
  const problem = findSiteInputProblem(given);
  if (!problem) return;
  const place = [field, problem.field].filter((part) => part !== '').join('.');
  throw invalidField(place, problem.message);
}

/** Replaces all options of the site of a domain that exists. Its labels and its expiry stay. */
export function setSiteOptions(draft: Draft, domain: string, options: SiteOptions): void {
  const marks = Object.entries(draft.site(domain) ?? {}).filter(([key]) => isMark(key));
  const given = Object.entries(options).filter(([key, value]) => !isDefault(key, value));
  const site = Object.fromEntries([...given, ...marks]);
  draft.setSite(domain, Object.keys(site).length > 0 ? site : undefined);
}

/** The state holds only what differs from the default. */
function isDefault(option: string, value: unknown): boolean {
  return (
    value === undefined ||
    (option === 'https' && value === 'none') ||
    (option === 'noindex' && value === false)
  );
}

/** `allow`, 3 → `allow[3]`; `redirect`, `to` → `redirect.to`. */
function fieldOf(path: readonly (string | number)[]): string {
  return path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  );
}
