import { domainToASCII } from 'node:url';

export const DOMAIN_RULE =
  'a domain of at least two labels, each 1-63 of a-z 0-9 -, not beginning or ending with -, 253 characters in all ' +
  '(an internationalised name is turned to A-labels; a wildcard is *. and a domain)';

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})+$`);

/**
 * The canonical form of a domain or one-label wildcard: lower case, no trailing dot, A-labels (RFC 5890).
 * Undefined where it is not one. Idempotent: a canonical name is its own canonical form.
 */
export function canonicalDomain(input: string): string | undefined {
  // A name that could still become valid is at most 253 characters; IDN labels only get longer as A-labels.
  if (input.length > 256) return undefined;
  const wildcard = input.startsWith('*.');
  const name = toAscii(wildcard ? input.slice(2) : input);
  if (name === undefined || !DOMAIN.test(name)) return undefined;
  const domain = wildcard ? `*.${name}` : name;
  return domain.length <= 253 ? domain : undefined;
}

export function isWildcard(domain: string): boolean {
  return domain.startsWith('*.');
}

function toAscii(name: string): string | undefined {
  // domainToASCII follows the URL standard, which also percent-decodes and reads 127.1 as an address: names that
  // are plain ASCII must not go through it.
  const ascii = /^[!-~]*$/.test(name) ? name.toLowerCase() : name.includes('%') ? '' : domainToASCII(name);
  const trimmed = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  return trimmed === '' ? undefined : trimmed;
}
