import { type JsonRule, recordRule, textRule } from './json-rule.js';

/** What a caller says about a domain, such as its team or its branch. The suite gives it no meaning. */
export type Labels = Readonly<Record<string, string>>;

const MAX_LABELS = 16;
const KEY = String.raw`[A-Za-z0-9][A-Za-z0-9._\/\-]{0,62}`;

export const LABELS_RULE =
  'an object of at most 16 texts: keys of 1-63 letters, digits and . _ / - that begin with a letter or digit, values of 1-255 ' +
  'characters';

/** A filter by label: `key`, or `key=value`. */
export const LABEL_FILTER = new RegExp(`^${KEY}(?:=[^\\p{Cc}\\p{Cs}]{1,255})?$`, 'u');

const textsRule = recordRule(
  new RegExp(`^${KEY}$`),
  textRule(/^[^\p{Cc}\p{Cs}]{1,255}$/u, 'a text of 1 to 255 characters'),
);

export const labelsRule: JsonRule = (value, path) =>
  textsRule(value, path) ??
  (Object.keys(value as object).length > MAX_LABELS
    ? { path, reason: `must be at most ${MAX_LABELS} labels` }
    : undefined);

/** The labels of a site; undefined without any. */
export function labelsOf(site: Readonly<Record<string, unknown>> | undefined): Labels | undefined {
  return site?.['labels'] as Labels | undefined;
}

/** Whether the labels match a filter: `key=value` the value, `key` any value. */
export function hasLabel(labels: Labels | undefined, filter: string): boolean {
  if (!labels) return false;
  const at = filter.indexOf('=');
  const key = at < 0 ? filter : filter.slice(0, at);
  return Object.hasOwn(labels, key) && (at < 0 || labels[key] === filter.slice(at + 1));
}
