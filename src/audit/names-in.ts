/** The fields that hold domains, or texts with domains. Not `to`, which in the options of a site is the URL of a redirect. */
const NAME_FIELDS = new Set(['domain', 'domains', 'share_with', 'sans', 'served_instead']);

/** The texts in the fields for domains, at any depth. */
export function namesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => [
    ...(NAME_FIELDS.has(key) ? [inner].flat().filter((name) => typeof name === 'string') : []),
    ...namesIn(inner),
  ]);
}
