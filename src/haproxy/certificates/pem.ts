import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { AppError } from '../../errors/app-error.js';
import { chainOf } from './certificate-chain.js';

/** An RSA-4096 certificate with a chain of five has 13 KB, so no certificate of a CA reaches this limit. */
export const MAX_PEM_BYTES = 64 * 1024;

/** A checked certificate with its chain and private key, in the form that is written to disk and sent to HAProxy. */
export interface CertificateBundle {
  leaf: X509Certificate;
  /** Leaf, issuers in order, then the private key. No blank lines and no text outside the PEM blocks. */
  pem: string;
  /** Problems that do not prevent HAProxy from serving the certificate. */
  warnings: string[];
  /** What HAProxy reads from files beside the certificate. Absent without such files. */
  extras?: CertificateExtras;
}

/** The contents of the files that HAProxy reads together with `x.pem` (`ssl-load-extra-files`). */
export interface CertificateExtras {
  /** `x.pem.issuer`, PEM. */
  issuer?: string;
  /** `x.pem.ocsp`, base64. */
  ocsp?: string;
  /** `x.pem.sctl`, base64. */
  sctl?: string;
}

const JOIN_ADVICE = 'Put the certificate, its chain and its private key into one PEM text.';

interface Block {
  type: string;
  text: string;
}

/**
 * Parses a PEM text with exactly one unencrypted private key and the certificate of that key, in any order and with any
 * line endings. The checks are strict, because HAProxy does not start if one file in the folder is not valid.
 *
 * @throws AppError validation_failed
 */
export function parseBundle(text: string, now = Date.now()): CertificateBundle {
  if (Buffer.byteLength(text) > MAX_PEM_BYTES)
    throw invalidPem(`is larger than ${MAX_PEM_BYTES / 1024} KB`, 'Use a shorter chain.');
  const blocks = blocksOf(text);
  const key = onlyKey(blocks);
  const certificates = blocks.filter(isCertificate).map(({ text: block }) => readCertificate(block));
  if (certificates.length === 0) throw invalidPem('has no certificate', JOIN_ADVICE);
  const leaf = certificates.find((certificate) => belongsTo(certificate, key));
  if (!leaf) throw invalidPem('has a private key that belongs to none of its certificates', JOIN_ADVICE);
  const rest = certificates.filter((certificate) => certificate !== leaf);
  const chain = chainOf(leaf, rest, now);
  const warnings = validityWarnings(leaf, now);
  const unrelated = rest.filter((certificate) => !chain.includes(certificate) && !isSame(certificate, leaf));
  if (unrelated.length > 0)
    warnings.push(
      `${unrelated.length} certificate(s) in the PEM text do not belong to the chain and were ignored.`,
    );
  const keyText = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { leaf, pem: [leaf, ...chain].map(textOf).join('') + keyText, warnings };
}

/** The certificate of the private key in a PEM text, or else the first certificate. Undefined if there is none. */
export function leafOf(text: string): X509Certificate | undefined {
  try {
    return parseBundle(text).leaf;
  } catch {
    const first = /-----BEGIN (?:X509 )?CERTIFICATE-----[^-]+-----END (?:X509 )?CERTIFICATE-----/.exec(
      text,
    )?.[0];
    try {
      return first === undefined ? undefined : readCertificate(first);
    } catch {
      return undefined;
    }
  }
}

/** The readable certificates of a PEM text, in their order. */
export function certificatesOf(text: string): X509Certificate[] {
  return [...text.matchAll(BLOCK)]
    .map(blockOf)
    .filter(isCertificate)
    .flatMap((block) => {
      try {
        return [readCertificate(block.text)];
      } catch {
        return [];
      }
    });
}

export function hasKey(text: string): boolean {
  return /-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----/.test(text);
}

/**
 * Why HAProxy does not start with a file of this text in its folder; undefined if it starts. HAProxy takes the first
 * certificate and the first key of the file, and the key of `keyText` if the file has none. Less strict than
 * `parseBundle`.
 */
export function startProblem(text: string, keyText: string | undefined): string | undefined {
  if (text.trim() === '') return 'it is empty';
  const blocks = [...text.matchAll(BLOCK)].map(blockOf);
  const certificates = blocks.filter(({ type }) => /^(?:X509 |TRUSTED )?CERTIFICATE$/.test(type));
  if (certificates.length === 0) return 'it has no certificate';
  // OpenSSL reads the trust settings of a TRUSTED CERTIFICATE, Node.js does not.
  if (certificates.some(({ type }) => type === 'TRUSTED CERTIFICATE')) return undefined;
  const key = readableKey(blocks) ?? readableKey([...(keyText ?? '').matchAll(BLOCK)].map(blockOf));
  if (!key)
    return hasKey(text) || keyText !== undefined
      ? 'its private key is encrypted or cannot be read'
      : 'it has no private key, and no file with the same name and the ending .key has one';
  try {
    const [leaf] = certificates.map((block) => readCertificate(block.text));
    return leaf && belongsTo(leaf, key)
      ? undefined
      : 'its private key does not belong to its first certificate';
  } catch {
    return 'it has a certificate that cannot be read';
  }
}

function readableKey(blocks: readonly Block[]): KeyObject | undefined {
  const block = blocks.find(isKey);
  try {
    return block && createPrivateKey(withUnixLines(block.text));
  } catch {
    return undefined;
  }
}

const BLOCK = /-----BEGIN (?<type>[A-Z0-9 ]{1,40})-----[^-]*(?:-(?!----)[^-]*)*-----END \k<type>-----/g;

function blockOf(match: RegExpMatchArray): Block {
  return { type: match.groups?.['type'] ?? '', text: match[0] };
}

function blocksOf(text: string): Block[] {
  const blocks = [...text.matchAll(BLOCK)].map(blockOf);
  if (blocks.length === 0) throw invalidPem('has no PEM block (-----BEGIN CERTIFICATE-----)', JOIN_ADVICE);
  if (blocks.length !== text.split('-----BEGIN ').length - 1)
    throw invalidPem('has a PEM block without an end line');
  const unknown = blocks.find((block) => !isCertificate(block) && !isKey(block) && !IGNORED.has(block.type));
  if (unknown)
    throw invalidPem(`has a PEM block that is neither a certificate nor a private key: ${unknown.type}`);
  return blocks;
}

/** OpenSSL writes parameters before a key. They are redundant, because the key contains them too. */
const IGNORED = new Set(['EC PARAMETERS', 'DH PARAMETERS']);

function isCertificate({ type }: Block): boolean {
  return type === 'CERTIFICATE' || type === 'X509 CERTIFICATE';
}

function isKey({ type }: Block): boolean {
  return type.endsWith('PRIVATE KEY');
}

function onlyKey(blocks: readonly Block[]): KeyObject {
  const [block, second] = blocks.filter(isKey);
  if (!block) throw invalidPem('has no private key', JOIN_ADVICE);
  if (second) throw invalidPem('has more than one private key');
  if (block.type === 'ENCRYPTED PRIVATE KEY' || block.text.includes('ENCRYPTED'))
    throw invalidPem('has an encrypted private key', 'Decrypt the key first (openssl pkey -in key.pem).');
  try {
    return createPrivateKey(withUnixLines(block.text));
  } catch {
    // The error of OpenSSL does not help the caller, and a message must not quote a key.
    throw invalidPem('has a private key that cannot be read');
  }
}

function readCertificate(text: string): X509Certificate {
  try {
    return new X509Certificate(withUnixLines(text).replaceAll('X509 CERTIFICATE', 'CERTIFICATE'));
  } catch {
    throw invalidPem('has a certificate that cannot be read');
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

function invalidPem(problem: string, advice = 'Correct the PEM text and try again.'): AppError {
  return new AppError('validation_failed', `The PEM text ${problem}. Nothing was changed. ${advice}`, {
    errors: [{ field: 'pem', message: problem }],
  });
}
