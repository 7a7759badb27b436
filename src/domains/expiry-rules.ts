import { invalidField, invalidFields } from '../errors/invalid-fields.js';
import { durationMs, expiryOf, expiryText, MAX_EXPIRY_MS, NEVER } from '../model/options/expiry.js';
import type { Labels } from '../model/options/labels.js';
import type { Draft } from '../model/draft.js';

/** What a caller says about a domain. Undefined keeps the value; `{}` and `never` remove it. */
export interface DeclaredMarks {
  labels?: Labels;
  expires_in?: string;
  expires_at?: string;
}

/** @throws AppError validation_failed */
export function checkMarks({ expires_in, expires_at }: DeclaredMarks): void {
  if (expires_in !== undefined && expires_at !== undefined)
    throw invalidFields(
      [{ field: 'expires_at', message: 'is not allowed together with expires_in' }],
      'Give only one of expires_in (from now) and expires_at.',
    );
}

/** Which times an expiry may have. */
export interface ExpiryLimits {
  /** The latest time that it can be, in milliseconds since the epoch. */
  now: number;
  /** A time that has passed is accepted if the domain has this one already. Default: it is refused. */
  keepsPast?: boolean;
}

/**
 * Sets the labels and the expiry of a domain that exists.
 *
 * @throws AppError validation_failed, if the time is in the past or more than ten years from now
 */
export function setMarks(draft: Draft, domain: string, marks: DeclaredMarks, limits: ExpiryLimits): void {
  const { labels, expires_in, expires_at } = marks;
  if (labels === undefined && expires_in === undefined && expires_at === undefined) return;
  const site = { ...draft.site(domain) };
  if (labels !== undefined) {
    delete site['labels'];
    if (Object.keys(labels).length > 0) site['labels'] = { ...labels };
  }
  const time = expires_in === undefined ? expires_at : limits.now + (durationMs(expires_in) ?? 0);
  if (expires_in === NEVER) delete site['expires_at'];
  else if (time !== undefined) site['expires_at'] = expiryText(checkedTime(time, limits, expiryOf(site)));
  draft.setSite(domain, Object.keys(site).length > 0 ? site : undefined);
}

function checkedTime(
  given: string | number,
  { now, keepsPast }: ExpiryLimits,
  former: number | undefined,
): number {
  if (typeof given === 'number') return given;
  const time = Date.parse(given);
  if (time <= now && !(keepsPast && time === former))
    throw invalidField('expires_at', `must be in the future: it is ${expiryText(now)} now`);
  refuseLate('expires_at', time, now);
  return time;
}

/** @throws AppError validation_failed, if the time is more than ten years from now */
export function refuseLate(field: string, time: number | undefined, now: number): void {
  if (time !== undefined && time > now + MAX_EXPIRY_MS)
    throw invalidField(field, 'must be at most 10 years from now');
}
