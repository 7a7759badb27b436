import type { DeclaredField } from '../fields/field.js';

/**
 * Arguments that MCP clients add to the schema of a tool that has no required field, because some model APIs accept no such
 * schema. Cursor: `random_string` ("Dummy parameter for no-parameter tools"). Clients of Gemini and Antigravity:
 * `_placeholder`, `_`. LangChain: `__arg1`. They mean nothing. Any other unknown argument is refused, because a filter with
 * a wrong name would otherwise be ignored.
 */
const PLACEHOLDERS: ReadonlySet<string> = new Set([
  '_',
  '__arg1',
  '__placeholder',
  '_placeholder',
  'dummy',
  'random_string',
]);

/** The arguments of a tool without placeholders, if none of its fields is required. */
export function withoutPlaceholders(given: object, fields: ReadonlyMap<string, DeclaredField>): object {
  const isNeeded = ![...fields.values()].some(({ optional }) => !optional);
  if (!isNeeded || !Object.keys(given).some((name) => PLACEHOLDERS.has(name))) return given;
  return Object.fromEntries(Object.entries(given).filter(([name]) => !PLACEHOLDERS.has(name)));
}
