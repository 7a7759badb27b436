import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { canonicalDomain } from '../../model/names/domain-name.js';

const DAY_MS = 24 * 60 * 60 * 1000;

/** The contents of a certificate. */
interface CertificateFacts {
  /** Subject alternative names; the common name if there are none. */
  sans: string[];
  /** `CN=Example CA, O=Example`. */
  issuer: string;
  /** Hexadecimal. */
  serial: string;
  /** RFC 3339. */
  not_before: string;
  /** RFC 3339. */
  not_after: string;
  /** Whole days until `not_after`; negative after that. */
  days_left: number;
  /** `ECDSA P-256`, `RSA 4096`. */
  key_type: string;
}

export function factsOf(certificate: X509Certificate, now = Date.now()): CertificateFacts {
  const notAfter = Date.parse(certificate.validTo);
  return {
    sans: namesOf(certificate),
    issuer: oneLine(certificate.issuer),
    serial: certificate.serialNumber,
    not_before: new Date(certificate.validFrom).toISOString(),
    not_after: new Date(notAfter).toISOString(),
    days_left: Math.floor((notAfter - now) / DAY_MS),
    key_type: keyType(certificate),
  };
}

/** The subject alternative names (DNS names and IP addresses). If there are none: the common name. */
export function namesOf(certificate: X509Certificate): string[] {
  const names = [...(certificate.subjectAltName ?? '').matchAll(/(?:^|, )(?:DNS|IP Address):([^,"]+)/g)].map(
    (match) => match[1] ?? '',
  );
  return names.length === 0 ? commonNamesOf(certificate).slice(0, 1) : names;
}

/** The DNS names by which a client finds the certificate: the alternative names, or the common name. Lower case. */
export function dnsNamesOf(certificate: X509Certificate): string[] {
  return [...new Set(namesOf(certificate).map((name) => name.toLowerCase()))].filter(
    (name) => isIP(name) === 0,
  );
}

/** All names under which HAProxy stores the certificate: it also uses the common name next to alternative names. */
export function indexedNamesOf(certificate: X509Certificate): string[] {
  return [
    ...new Set([...dnsNamesOf(certificate), ...commonNamesOf(certificate).map((name) => name.toLowerCase())]),
  ];
}

/** Whether the certificate lists each name literally: `*.example.com` does not cover `www.example.com` here. */
export function covers(certificate: X509Certificate, names: readonly string[]): boolean {
  const own = new Set(namesOf(certificate).map((name) => name.toLowerCase()));
  return names.every((name) => own.has(name));
}

/** Whether the certificate is valid for `domain` or for `*.domain`. */
export function matchesDomain(certificate: X509Certificate, domain: string): boolean {
  return covers(certificate, [`*.${domain}`]) || certificate.checkHost(domain) !== undefined;
}

/**
 * The domain of a certificate whose file name is not a domain: its first name without `*.`. A name that is no domain
 * (`localhost`, `_`, an IP address) is returned as it is. Undefined if the certificate has no name.
 */
export function firstDomain(certificate: X509Certificate): string | undefined {
  const first = namesOf(certificate)[0]?.replace(/^\*\./, '');
  return first === undefined ? undefined : (canonicalDomain(first) ?? first.toLowerCase());
}

/** HAProxy chooses among the certificates of a name first by the kind of their keys. */
export type KeyKind = 'ecdsa' | 'rsa' | 'other';

export function keyKindOf({ publicKey }: X509Certificate): KeyKind {
  const type = publicKey.asymmetricKeyType;
  if (type === 'ec') return 'ecdsa';
  return type === 'rsa' || type === 'rsa-pss' ? 'rsa' : 'other';
}

function commonNamesOf({ subject }: X509Certificate): string[] {
  return [...(subject ?? '').matchAll(/^CN=(.+)$/gm)].map((match) => match[1] ?? '');
}

function keyType({ publicKey }: X509Certificate): string {
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  const type = publicKey.asymmetricKeyType ?? 'unknown';
  if (type === 'rsa') return `RSA ${modulusLength}`;
  return type === 'ec' ? `ECDSA ${CURVES[namedCurve ?? ''] ?? namedCurve}` : type;
}

const CURVES: Record<string, string> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

/** Node.js returns one line per attribute, in reverse order. */
function oneLine(name: string): string {
  return (name ?? '').split('\n').toReversed().join(', ');
}
