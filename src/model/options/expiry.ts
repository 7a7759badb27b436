import type { JsonRule } from './json-rule.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const UNITS = { m: MINUTE_MS, h: HOUR_MS, d: 24 * HOUR_MS };

/** The longest time until a domain expires: ten years. */
export const MAX_EXPIRY_MS = 3653 * UNITS.d;

/** `30m`, `12h` or `7d`: minutes, hours or days, from 1. */
export const DURATION = /^[1-9][0-9]{0,6}[mhd]$/;
export const DURATION_RULE = 'a duration such as 30m, 12h or 7d, at most 3653d';

/** The milliseconds of a duration; undefined for another text, or for more than ten years. */
export function durationMs(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  const milliseconds = Number(text.slice(0, -1)) * UNITS[text.slice(-1) as keyof typeof UNITS];
  return milliseconds <= MAX_EXPIRY_MS ? milliseconds : undefined;
}

/** What `expires_in` of a domain takes instead of a duration, so that the domain stays. null means "not given". */
export const NEVER = 'never';
export const EXPIRES_IN = /^(?:never|[1-9][0-9]{0,6}[mhd])$/;
export const EXPIRES_IN_RULE = `${DURATION_RULE}, or never`;

export function isExpiresIn(text: string): boolean {
  return text === NEVER || durationMs(text) !== undefined;
}

/** The time in the form of the state: UTC in whole seconds, rounded up, so that a domain never expires too early. */
export function expiryText(time: number): string {
  return new Date(Math.ceil(time / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

/** Milliseconds since the epoch; undefined for a domain that does not expire. */
export function expiryOf(site: Readonly<Record<string, unknown>> | undefined): number | undefined {
  const text = site?.['expires_at'];
  return typeof text === 'string' ? Date.parse(text) : undefined;
}

/** A time as `expiryText` writes it. */
export const expiryRule: JsonRule = (value, path) => {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return !Number.isNaN(time) && expiryText(time) === value && value.length === '2026-12-31T12:00:00Z'.length
    ? undefined
    : { path, reason: 'must be a time in UTC with whole seconds, such as 2026-12-31T12:00:00Z' };
};
