/** A host of which the routes are asked: one name, or all names of a wildcard (`.example.com`). */
export type Host = { readonly text: string } | { readonly suffix: string };

/** What an expression gives: a text, the names of a wildcard, nothing, or something that is not known here. */
export type Value = { text: string } | { suffix: string } | 'absent' | 'unknown';
