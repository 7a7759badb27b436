import type { X509Certificate } from 'node:crypto';
import { basename } from 'node:path';
import { lstat, open, readFile, readlink, stat } from 'node:fs/promises';
import { AppError, messageOf } from '../../errors/app-error.js';
import type { ConfigSection } from '../config/config-parser.js';
import {
  type CertificateBundle,
  type CertificateExtras,
  certificatesOf,
  hasKey,
  leafOf,
  MAX_PEM_BYTES,
  parseBundle,
  startProblem,
} from './pem.js';

/** Of a larger file only the beginning is read. The certificate is in the beginning, if there is one. */
const MAX_SCAN_BYTES = 1024 * 1024;

/** Endings of files that HAProxy reads as a part of another file ("crt", section 5.1 of the configuration manual). */
const PART_ENDINGS = ['.key', '.ocsp', '.issuer', '.sctl'] as const;
/** Certificates of one site with keys of different types: `x.pem.rsa` and `x.pem.ecdsa`. */
const BUNDLE = /^(?<base>.+)\.(?:rsa|ecdsa|dsa)$/;

/** What one file of the folder holds. */
export interface CertificateContent {
  /** Undefined if the file has no certificate. */
  leaf: X509Certificate | undefined;
  /** Why HAProxy does not start while the file is in the folder. */
  problem?: string;
}

/** Whether HAProxy ignores a file of the folder, or reads it only as a part of another file. */
export function isNoCertificate(name: string): boolean {
  return name.startsWith('.') || PART_ENDINGS.some((ending) => name.endsWith(ending));
}

/** `/certs/x.pem` for `/certs/x.pem.rsa`. Undefined for a file that is no part of a bundle. */
export function bundleOf(path: string): string | undefined {
  return BUNDLE.exec(path)?.groups?.['base'];
}

/** The names of the files that HAProxy reads together with `path`: the key, OCSP response, issuer and SCT list. */
export class PartNames {
  readonly #withoutCrt: boolean;

  constructor(sections: readonly ConfigSection[]) {
    this.#withoutCrt = sections.some(
      ({ keyword, lines }) =>
        keyword === 'global' && lines.some(({ words }) => words[0] === 'ssl-load-extra-del-ext'),
    );
  }

  of(path: string): { key: string; ocsp: string; issuer: string; sctl: string } {
    const stem = this.#withoutCrt && path.endsWith('.crt') ? path.slice(0, -'.crt'.length) : path;
    return { key: `${stem}.key`, ocsp: `${stem}.ocsp`, issuer: `${stem}.issuer`, sctl: `${stem}.sctl` };
  }
}

/** Identifies the content of a file: it changes when the file changes. Undefined if there is no such file. */
export async function stampOf(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info && `${info.ino}:${info.size}:${info.mtimeMs}:${info.ctimeMs}`;
}

/** Reads a file as HAProxy would at its start. Null for something that HAProxy ignores, such as a folder. */
export async function readContent(
  path: string,
  { key, sctl, ocsp, issuer }: ReturnType<PartNames['of']>,
): Promise<CertificateContent | null> {
  try {
    const info = await stat(path);
    if (!info.isFile()) return null;
    const text = await readBeginning(path);
    const keyText = hasKey(text) ? undefined : await readIfPresent(key);
    const problem =
      startProblem(text, keyText) ?? (await sctlProblem(sctl)) ?? (await ocspProblem(text, ocsp, issuer));
    return { leaf: leafOf(`${text}\n${keyText ?? ''}`), ...(problem !== undefined && { problem }) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      return { leaf: undefined, problem: `the suite cannot read it: ${messageOf(error)}` };
    const link = await lstat(path).catch(() => undefined);
    if (!link?.isSymbolicLink()) return null;
    const target = await readlink(path).catch(() => 'another file');
    return { leaf: undefined, problem: `it is a link to ${target}, which does not exist` };
  }
}

/** HAProxy checks only the length of the list. */
async function sctlProblem(path: string): Promise<string | undefined> {
  const content = await readFile(path).catch(undefinedIfMissing);
  if (!content || (content.length > 2 && content.readUInt16BE() === content.length - 2)) return undefined;
  return `${path} is no list of signed certificate timestamps`;
}

/**
 * With an OCSP response, whatever it holds, HAProxy needs the certificate of the issuer. It looks in the chain, then in
 * the file for the issuer. It ignores a response for another certificate of this issuer.
 */
async function ocspProblem(text: string, ocsp: string, issuer: string): Promise<string | undefined> {
  if ((await stampOf(ocsp)) === undefined) return undefined;
  const [leaf, ...chain] = certificatesOf(text);
  if (!leaf || chain.some((certificate) => leaf.checkIssued(certificate))) return undefined;
  const issuerText = await readIfPresent(issuer);
  if (issuerText === undefined)
    return `${ocsp} needs the certificate of the CA, which is neither in the file nor in ${basename(issuer)}`;
  const [found] = certificatesOf(issuerText);
  return found && leaf.checkIssued(found)
    ? undefined
    : `${issuer}, which ${basename(ocsp)} needs, is not the certificate of its CA`;
}

/**
 * The certificate of a file with its key and its other parts. Undefined if the file does not exist.
 *
 * @throws AppError validation_failed (not a certificate with its key, or too large), or the error of the file system
 */
export async function readBundle(
  path: string,
  names: ReturnType<PartNames['of']>,
): Promise<CertificateBundle | undefined> {
  const text = await readPem(path);
  if (text === undefined) return undefined;
  const keyText = hasKey(text) ? undefined : await readPem(names.key);
  const bundle = parseBundle(keyText === undefined ? text : `${text}\n${keyText}`);
  const extras: CertificateExtras = {};
  const issuer = await readIfPresent(names.issuer);
  if (issuer !== undefined) extras.issuer = issuer;
  for (const part of ['ocsp', 'sctl'] as const) {
    const content = await readFile(names[part]).catch(undefinedIfMissing);
    if (content) extras[part] = content.toString('base64');
  }
  return Object.keys(extras).length === 0 ? bundle : { ...bundle, extras };
}

/**
 * The text of a file; undefined if there is none.
 *
 * @throws AppError validation_failed (larger than 64 KB), or the error of the file system
 */
export async function readPem(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(undefinedIfMissing);
  if (!info) return undefined;
  if (info.size > MAX_PEM_BYTES)
    throw new AppError(
      'validation_failed',
      `${path} is larger than ${MAX_PEM_BYTES / 1024} KB, the limit for a certificate. Use a shorter chain.`,
    );
  return readIfPresent(path);
}

async function readIfPresent(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(undefinedIfMissing);
}

async function readBeginning(path: string): Promise<string> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(Math.min((await file.stat()).size, MAX_SCAN_BYTES));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

function undefinedIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
