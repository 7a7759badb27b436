import { isIPv4 } from 'node:net';
import { domainToASCII } from 'node:url';

export const DOMAIN_RULE =
  'a domain of labels with 1-63 of a-z 0-9 _ -, not beginning or ending with -, 253 characters in all ' +
  '(an internationalised name is converted to A-labels; a wildcard is *. and a domain); a name whose last label is all ' +
  'digits must be an IPv4 address';

/** The most characters of a name as a caller writes it. A-labels are longer than the labels that they stand for. */
export const MAX_DOMAIN_INPUT = 256;

/**
 * The characters of a name as a caller writes it: of ASCII those of labels and dots, and all others, which IDNA converts.
 * It has only what the regular expressions of all languages have, because clients are generated from it.
 */
export const DOMAIN_FORM = /^(\*\.)?[^ -,/:-@\x5B-\x5E\x60{-~]+$/;

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const LAST_LABEL_IS_DIGITS = /(?:^|\.)\d+$/;

/**
 * The canonical form of a domain or one-label wildcard: lower case, no trailing dot, A-labels (RFC 5890). Undefined for
 * anything else. A canonical name is its own canonical form. One label is enough, because `http://intranet/` works in a
 * browser. Of the names whose last label is all digits, clients accept only IPv4 addresses (URL standard, "ends in a
 * number").
 */
export function canonicalDomain(input: string): string | undefined {
  const domain = knownDomain(input);
  if (domain === undefined || !LAST_LABEL_IS_DIGITS.test(domain)) return domain;
  return isIPv4(domain) ? domain : undefined;
}

/**
 * As `canonicalDomain`, for a domain that may be in the state already. Version 0.1 accepted names such as `10.0.0.300`,
 * and the suite must be able to read and remove them.
 */
export function knownDomain(input: string): string | undefined {
  if (input.length > MAX_DOMAIN_INPUT) return undefined;
  const wildcard = input.startsWith('*.');
  const given = wildcard ? input.slice(2) : input;
  const name = DOMAIN.test(given) ? given : DOMAIN_FORM.test(given) ? toAscii(given) : undefined;
  if (name === undefined || !DOMAIN.test(name)) return undefined;
  const domain = wildcard ? `*.${name}` : name;
  return domain.length <= 253 ? domain : undefined;
}

export function isWildcard(domain: string): boolean {
  return domain.startsWith('*.');
}

/** The wildcard that covers an exact name; undefined for a wildcard and for a name of one label. */
export function wildcardOf(domain: string): string | undefined {
  const dot = domain.indexOf('.');
  return isWildcard(domain) || dot < 0 ? undefined : `*${domain.slice(dot)}`;
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
  return knownDomain(domain) === domain && mapKeyOf(domain) === key ? domain : undefined;
}

function toAscii(name: string): string | undefined {
  // domainToASCII follows the URL standard: it also drops tabs, line ends and what follows a slash, and reads 127.1 as an
  // address. A name of plain ASCII must not go through it.
  const isPlain = /^[!-~]*$/.test(name);
  const ascii = isPlain ? name.toLowerCase() : /[\p{Cc}\p{Z}]/u.test(name) ? '' : domainToASCII(name);
  // The URL standard reads full-width digits as an address.
  if (ascii !== name.toLowerCase() && isIPv4(ascii)) return undefined;
  const trimmed = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  return trimmed === '' ? undefined : trimmed;
}
