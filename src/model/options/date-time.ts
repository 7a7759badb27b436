const SHAPE = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;

export const TIME_RULE = 'a date and time such as 2026-01-31T12:00:00Z (RFC 3339)';

/** Whether a value is a date and time (RFC 3339) of a day that exists. Date.parse takes 30 February as a day of March. */
export function isTime(value: unknown): value is string {
  if (typeof value !== 'string' || !SHAPE.test(value) || Number.isNaN(Date.parse(value))) return false;
  const day = Date.parse(`${value.slice(0, 10)}T00:00:00Z`);
  return !Number.isNaN(day) && new Date(day).toISOString().startsWith(value.slice(0, 10));
}
