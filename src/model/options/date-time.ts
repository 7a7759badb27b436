/** Date.parse also takes 24:00:00, as the next day. */
const HOUR_AND_MINUTE = String.raw`(?:[01]\d|2[0-3]):[0-5]\d`;
const SHAPE = new RegExp(
  String.raw`^\d{4}-\d{2}-\d{2}T${HOUR_AND_MINUTE}:[0-5]\d(?:\.\d+)?(?:Z|[+-]${HOUR_AND_MINUTE})$`,
);

export const TIME_RULE = 'a date and time such as 2026-01-31T12:00:00Z (RFC 3339)';

/** Whether a value is a date and time (RFC 3339) of a day that exists. Date.parse takes 30 February as a day of March. */
export function isTime(value: unknown): value is string {
  if (typeof value !== 'string' || !SHAPE.test(value) || Number.isNaN(Date.parse(value))) return false;
  const day = Date.parse(`${value.slice(0, 10)}T00:00:00Z`);
  return !Number.isNaN(day) && new Date(day).toISOString().startsWith(value.slice(0, 10));
}
