/** The value of `If-Match` or `If-None-Match` (RFC 9110, section 13.1): any value, or a list of ETags without quotes. */
export type EntityTags = '*' | readonly string[];

/** What a caller expects of a domain before a request is carried out. */
export interface Precondition {
  /** The domain must exist and have one of these ETags. */
  ifMatch?: EntityTags | undefined;
  /** The domain must have none of these ETags; `*`: it must not exist. */
  ifNoneMatch?: EntityTags | undefined;
}

/** The allowed values, as text after "must be". */
export const HEADER_RULE = '* or a list of ETags in double quotes, such as "0f3b5c7d9e1a2b4c6d8f0a1c"';
export const ARGUMENT_RULE = 'the etag of a result, a list of them, or * (the domain exists)';

const SEPARATORS = /[ \t,]*/y;
/** RFC 9110, section 8.8.3. */
const QUOTED = /(?:W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)/y;
const UNQUOTED = /([\w-]+)[ \t]*(?:,|$)/y;

/**
 * Reads a list of ETags; undefined if the text is not valid. A weak tag counts as the strong one, because a proxy that
 * compresses an answer weakens its ETag. `unquoted`: a tag may be without quotes, as the field `etag` of a result has it.
 */
export function parseEntityTags(text: string, { unquoted = false } = {}): EntityTags | undefined {
  if (text.trim() === '*') return '*';
  const tags: string[] = [];
  let at = 0;
  const read = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match?.[1];
  };
  for (read(SEPARATORS); at < text.length; read(SEPARATORS)) {
    const tag = read(QUOTED) ?? (unquoted ? read(UNQUOTED) : undefined);
    if (tag === undefined) return undefined;
    tags.push(tag);
  }
  return tags.length > 0 ? tags : undefined;
}

/** Whether one of the tags is the present one, which is undefined for a domain that does not exist. */
export function includesTag(tags: EntityTags, present: string | undefined): boolean {
  return present !== undefined && (tags === '*' || tags.includes(present));
}

/** The value as a header has it. */
export function formatEntityTags(tags: EntityTags): string {
  return tags === '*' ? tags : tags.map((tag) => `"${tag}"`).join(', ');
}
