import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { AppError } from '../../errors/app-error.js';

/** RSA-4096 with a chain of five is 13 KB; nothing that a CA issues comes near this. */
export const MAX_PEM_BYTES = 64 * 1024;

/** A certificate with its key, checked and in the one form that is written to disk and given to HAProxy. */
export interface CertificateBundle {
  leaf: X509Certificate;
  /** Leaf, its issuers in order, then the key. No blank lines, no text outside the blocks. Holds the private key. */
  pem: string;
  /** What is odd and still can be served. */
  warnings: string[];
}

interface Block {
  type: string;
  text: string;
}

/**
 * Reads a PEM text as HAProxy needs it: exactly one private key, not encrypted, and the certificate it belongs to,
 * in any order and with any line ends. One bad file in the folder would keep HAProxy from starting, hence the care.
 *
 * @throws AppError validation_failed
 */
export function parseBundle(text: string, now = Date.now()): CertificateBundle {
  if (Buffer.byteLength(text) > MAX_PEM_BYTES) throw bad(`is larger than ${MAX_PEM_BYTES / 1024} KB`);
  const blocks = blocksOf(text);
  const key = onlyKey(blocks);
  const certificates = blocks.filter(isCertificate).map(({ text: block }) => readCertificate(block));
  if (certificates.length === 0)
    throw bad('has no certificate; put the certificate, its chain and the private key into one text');
  const leaf = certificates.find((certificate) => belongsTo(certificate, key));
  if (!leaf) throw bad('has a private key that belongs to none of its certificates');
  const rest = certificates.filter((certificate) => certificate !== leaf);
  const chain = chainOf(leaf, rest);
  const warnings = validityWarnings(leaf, now);
  const strangers = rest.filter((certificate) => !chain.includes(certificate) && !isSame(certificate, leaf));
  if (strangers.length > 0)
    warnings.push(
      `${strangers.length} certificate(s) in the text do not belong to the chain and were left out.`,
    );
  const keyText = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { leaf, pem: [leaf, ...chain].map(textOf).join('') + keyText, warnings };
}

/** The certificate that a file is about: the one its key belongs to, else the first. Undefined where there is none. */
export function leafOf(text: string): X509Certificate | undefined {
  try {
    return parseBundle(text).leaf;
  } catch {
    const first = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(text)?.[0];
    try {
      return first === undefined ? undefined : new X509Certificate(first);
    } catch {
      return undefined;
    }
  }
}

function blocksOf(text: string): Block[] {
  const blocks = [
    ...text.matchAll(
      /-----BEGIN (?<type>[A-Z0-9 ]{1,40})-----[^-]*(?:-(?!----)[^-]*)*-----END \k<type>-----/g,
    ),
  ].map((match) => ({ type: match.groups?.['type'] ?? '', text: match[0] }));
  if (blocks.length === 0) throw bad('has no PEM block (-----BEGIN CERTIFICATE-----)');
  if (blocks.length !== text.split('-----BEGIN ').length - 1) throw bad('has a PEM block without its end');
  const unknown = blocks.find((block) => !isCertificate(block) && !isKey(block) && !IGNORED.has(block.type));
  if (unknown) throw bad(`has a block that does not belong there: ${unknown.type}`);
  return blocks;
}

/** OpenSSL writes the curve before an EC key; the key itself says it again. */
const IGNORED = new Set(['EC PARAMETERS', 'DH PARAMETERS']);

function isCertificate({ type }: Block): boolean {
  return type === 'CERTIFICATE' || type === 'X509 CERTIFICATE';
}

function isKey({ type }: Block): boolean {
  return type.endsWith('PRIVATE KEY');
}

function onlyKey(blocks: readonly Block[]): KeyObject {
  const [block, second] = blocks.filter(isKey);
  if (!block)
    throw bad('has no private key; put the certificate, its chain and the private key into one text');
  if (second) throw bad('has more than one private key');
  if (block.type === 'ENCRYPTED PRIVATE KEY' || block.text.includes('ENCRYPTED'))
    throw bad('has an encrypted private key; decrypt it first (openssl pkey -in key.pem)');
  try {
    return createPrivateKey(withUnixLines(block.text));
  } catch {
    // OpenSSL's words say nothing to a caller, and nothing of a key may be quoted.
    throw bad('has a private key that cannot be read');
  }
}

function readCertificate(text: string): X509Certificate {
  try {
    return new X509Certificate(withUnixLines(text).replaceAll('X509 CERTIFICATE', 'CERTIFICATE'));
  } catch {
    throw bad('has a certificate that cannot be read');
  }
}

function withUnixLines(text: string): string {
  return text.replaceAll(/[ \t]*\r?\n(?:[ \t]*\r?\n)*/g, '\n');
}

function belongsTo(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.checkPrivateKey(key);
  } catch {
    return false;
  }
}

function chainOf(leaf: X509Certificate, others: readonly X509Certificate[]): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (let last = leaf; ;) {
    const issuer = others.find(
      (other) =>
        !isSame(other, last) && !chain.includes(other) && !isSame(other, leaf) && last.checkIssued(other),
    );
    if (!issuer) return chain;
    chain.push(issuer);
    last = issuer;
  }
}

function isSame(a: X509Certificate, b: X509Certificate): boolean {
  return a.fingerprint256 === b.fingerprint256;
}

function validityWarnings(leaf: X509Certificate, now: number): string[] {
  if (Date.parse(leaf.validTo) < now) return [`The certificate expired on ${leaf.validTo}.`];
  if (Date.parse(leaf.validFrom) > now) return [`The certificate is valid only from ${leaf.validFrom}.`];
  return [];
}

function textOf(certificate: X509Certificate): string {
  return `${certificate.toString().trimEnd()}\n`;
}

function bad(what: string): AppError {
  return new AppError('validation_failed', `The PEM text ${what}. Nothing was changed.`, {
    errors: [{ field: 'pem', message: `must be a certificate with its key: it ${what}` }],
  });
}
