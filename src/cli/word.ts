/** The text of a value of a field in a URL or on the command line: as it is, and objects as JSON. */
export function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
