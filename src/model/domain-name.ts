import { domainToASCII } from 'node:url';

export const DOMAIN_RULE =
  'a domain of at least two labels, each 1-63 of a-z 0-9 -, not beginning or ending with -, 253 characters in all ' +
  '(an internationalised name is converted to A-labels; a wildcard is *. and a domain)';

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})+$`);

/**
 * The canonical form of a domain or one-label wildcard: lower case, no trailing dot, A-labels (RFC 5890). Undefined for
 * anything else. A canonical name is its own canonical form.
 */
export function canonicalDomain(input: string): string | undefined {
  // A valid name has at most 253 characters, without a trailing dot. A-labels are longer than the IDN labels.
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

/** The key of a domain in `domains.map`: `example.com` → itself; `*.example.com` → `.example.com`. */
export function mapKeyOf(domain: string): string {
  return domain.startsWith('*.') ? domain.slice(1) : domain;
}

/** The reverse of `mapKeyOf`, for a key that the suite wrote. */
export function domainOfMapKey(key: string): string {
  return key.startsWith('.') ? `*${key}` : key;
}

/** The domain of any key in a map; undefined for a key that the suite would not write. */
export function parseMapKey(key: string): string | undefined {
  const domain = domainOfMapKey(key);
  return canonicalDomain(domain) === domain && mapKeyOf(domain) === key ? domain : undefined;
}

function toAscii(name: string): string | undefined {
  // domainToASCII follows the URL standard: it also decodes percent signs and reads 127.1 as an address. A name of plain
  // ASCII must not go through it.
  const ascii = /^[!-~]*$/.test(name) ? name.toLowerCase() : name.includes('%') ? '' : domainToASCII(name);
  const trimmed = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  return trimmed === '' ? undefined : trimmed;
}
