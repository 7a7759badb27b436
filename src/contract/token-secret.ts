/** What a named token begins with. Secret scanners and people recognise a token by it. It also keeps one from beginning with `-`. */
export const TOKEN_PREFIX = 'hst_';
/** A token has 43 characters after the prefix. A part of one is hidden too. */
const SECRET = new RegExp(`${TOKEN_PREFIX}[\\w-]{20,}`, 'g');

/** The text without the tokens in it, for logs: a caller may have put one in the place of a name. */
export function withoutTokens(text: string): string {
  return text.replaceAll(SECRET, '[redacted]');
}

export function holdsToken(text: string): boolean {
  return text.search(SECRET) !== -1;
}
