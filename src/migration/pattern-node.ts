/** The match methods of HAProxy (`-m …`). */
export const MATCH_METHODS = ['str', 'beg', 'end', 'sub', 'dom', 'reg'] as const;
export type MatchMethod = (typeof MATCH_METHODS)[number];

/** A pattern as a tree. */
export type Node =
  | { type: 'char'; accepts: (char: string) => boolean; shown: Shown }
  | { type: 'seq'; items: Node[] }
  | { type: 'alt'; items: Node[] }
  | { type: 'repeat'; item: Node; min: 0 | 1; max: 1 | undefined }
  | { type: 'start' }
  | { type: 'end' };

/** How a character is written in a name that the pattern matches: itself, any character, any character of a label, or some characters. */
type Shown = { literal: string } | 'any' | 'label' | 'some';

/** The characters of a label that visitors send: those of RFC 1123, and `_`, which browsers and wildcards accept too. */
export const LABEL_CHARS = [...'abcdefghijklmnopqrstuvwxyz0123456789-_'];
/** What delimits a "domain" for `-m dom`. */
const DELIMITERS = '/?.:';

export function literal(char: string, ignoreCase: boolean): Node {
  const wanted = ignoreCase ? char.toLowerCase() : char;
  return { type: 'char', accepts: (other) => other === wanted, shown: { literal: char.toLowerCase() } };
}

/** The tree of a text that is compared by any method but `reg`. */
export function textNode(method: MatchMethod, text: string, ignoreCase: boolean): Node {
  const given = method === 'dom' ? trimDelimiters(text) : text;
  const chars = [...given].map((char) => literal(char, ignoreCase));
  const delimiter: Node = { type: 'char', accepts: (char) => DELIMITERS.includes(char), shown: 'any' };
  const start: Node[] = method === 'str' || method === 'beg' ? [{ type: 'start' }] : [];
  const end: Node[] = method === 'str' || method === 'end' ? [{ type: 'end' }] : [];
  if (method !== 'dom') return { type: 'seq', items: [...start, ...chars, ...end] };
  return {
    type: 'seq',
    items: [
      { type: 'alt', items: [{ type: 'start' }, delimiter] },
      ...chars,
      { type: 'alt', items: [{ type: 'end' }, delimiter] },
    ],
  };
}

export function trimDelimiters(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && DELIMITERS.includes(text.charAt(start))) start += 1;
  while (end > start && DELIMITERS.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}
