import type { X509Certificate } from 'node:crypto';
import { canonicalDomain } from '../../model/domain-name.js';

const DAY_MS = 24 * 60 * 60 * 1000;

/** What a certificate says of itself. */
export interface CertificateFacts {
  sans: string[];
  issuer: string;
  serial: string;
  not_before: string;
  not_after: string;
  days_left: number;
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

/** Subject alternative names; the common name only where there are none, as clients did before they were required. */
export function namesOf(certificate: X509Certificate): string[] {
  const names = [...(certificate.subjectAltName ?? '').matchAll(/(?:^|, )(?:DNS|IP Address):([^,"]+)/g)].map(
    (match) => match[1] ?? '',
  );
  const common = /^CN=(.+)$/m.exec(certificate.subject ?? '')?.[1];
  return names.length === 0 && common !== undefined ? [common] : names;
}

/** Whether the certificate holds each of the names as a name of its own. */
export function covers(certificate: X509Certificate, names: readonly string[]): boolean {
  const own = new Set(namesOf(certificate).map((name) => name.toLowerCase()));
  return names.every((name) => own.has(name));
}

/** Whether a client that asks for `domain`, or for a name right below it, may be answered with this certificate. */
export function isAbout(certificate: X509Certificate, domain: string): boolean {
  return covers(certificate, [`*.${domain}`]) || certificate.checkHost(domain) !== undefined;
}

/** The name that a file goes by which is not called after a domain: its first one, without `*.`. */
export function mainDomain(certificate: X509Certificate): string | undefined {
  const first = namesOf(certificate)[0];
  return first === undefined ? undefined : canonicalDomain(first.replace(/^\*\./, ''));
}

function keyType({ publicKey }: X509Certificate): string {
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  const type = publicKey.asymmetricKeyType ?? 'unknown';
  if (type === 'rsa') return `RSA ${modulusLength}`;
  return type === 'ec' ? `ECDSA ${CURVES[namedCurve ?? ''] ?? namedCurve}` : type;
}

const CURVES: Record<string, string> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

/** `CN=Example CA, O=Example` from the lines that node gives. */
function oneLine(name: string): string {
  return (name ?? '').split('\n').toReversed().join(', ');
}
