import type { X509Certificate } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { AppError } from '../../errors/app-error.js';
import { storageError } from '../../errors/storage-error.js';
import { syncFolder, writeFileAtomic } from '../../lib/atomic-file.js';
import { canonicalDomain, isWildcard } from '../../model/names/domain-name.js';
import { Settings } from '../../settings/settings.js';
import { OperatorConfig } from '../config/operator-config.js';
import { firstDomain, matchesDomain } from './certificate-facts.js';
import {
  bundleOf,
  type CertificateContent,
  isNoCertificate,
  PartNames,
  readBundle,
  readContent,
  readPem,
  stampOf,
} from './certificate-file.js';
import type { CertificateBundle } from './pem.js';

export interface CertificateFile {
  path: string;
  /** The domain by which callers name the certificate; a certificate without a name has the name of its file. */
  domain: string;
  leaf: X509Certificate;
}

/** A file with which HAProxy does not start. */
export interface BrokenFile {
  path: string;
  reason: string;
}

/** Temporary files of a suite that was killed during a write. */
const TEMPORARY = /^\..+\.pem(?:\.deleted)?\.\d+\.\d+\.tmp$/;
/** A certificate that is being deleted, or a copy of a certificate that the operator is replacing. */
const HIDDEN = /^\.(?<name>.+\.pem)\.deleted$/;

/** How many files are read at the same time. */
const CONCURRENCY = 8;

interface CachedContent {
  /** Changes when the file or one of its parts changes. */
  stamp: string;
  content: CertificateContent | null;
}

/**
 * The folder from which HAProxy reads certificates. The operator may change it at any time, so each call reads the list
 * of files; a file is parsed again when it has changed.
 */
@Injectable()
export class CertificateFolder {
  readonly #folder: string;
  readonly #cache = new Map<string, CachedContent>();
  readonly #limit = pLimit(CONCURRENCY);

  constructor(
    settings: Settings,
    private readonly config: OperatorConfig,
  ) {
    this.#folder = settings.folders.certs;
  }

  get path(): string {
    return this.#folder;
  }

  /** The path of the certificate that the suite writes for the domain. */
  pathOf(domain: string): string {
    return join(this.#folder, `${domain}.pem`);
  }

  /** Creates the folder and deletes temporary files of a killed suite. */
  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder))
      if (TEMPORARY.test(name)) await unlink(join(this.#folder, name));
  }

  /**
   * All certificates, sorted by domain and path, and the files with which HAProxy does not start. A certificate without
   * its key is in both lists.
   */
  async list(): Promise<{ files: CertificateFile[]; broken: BrokenFile[] }> {
    const files: CertificateFile[] = [];
    const broken: BrokenFile[] = [];
    const names = await this.#names();
    const partNames = new PartNames(this.config.sections);
    const present = new Set(names);
    const candidates = names.filter((name) => !isNoCertificate(name));
    const contents = await this.#limit.map(candidates, (name) => {
      const path = join(this.#folder, name);
      return this.#content(path, partNames.of(path), present);
    });
    for (const [index, name] of candidates.entries()) {
      const path = join(this.#folder, name);
      const content = contents[index];
      if (!content) continue;
      const { leaf, problem } = content;
      if (problem !== undefined) broken.push({ path, reason: problem });
      if (leaf) files.push({ path, domain: domainOf(name, leaf), leaf });
    }
    files.sort((a, b) => (`${a.domain} ${a.path}` < `${b.domain} ${b.path}` ? -1 : 1));
    return { files, broken };
  }

  /**
   * The certificate of a domain: the file `<domain>.pem`, otherwise the one that expires last. A caller can also name a
   * file of the folder (`0001-old.pem`) or a bundle (`example.com.pem` for `example.com.pem.rsa`).
   */
  async find(name: string): Promise<CertificateFile | undefined> {
    return this.findIn((await this.list()).files, name);
  }

  /** As `find`, in the files of a list. */
  findIn(files: readonly CertificateFile[], name: string): CertificateFile | undefined {
    const own = this.pathOf(name);
    const ofDomain = files
      .filter(({ domain }) => domain === name)
      .toSorted((a, b) => Date.parse(b.leaf.validTo) - Date.parse(a.leaf.validTo));
    const isNamed = (path: string | undefined) =>
      path !== undefined && basename(path).toLowerCase() === name.toLowerCase();
    return (
      ofDomain.find(({ path }) => path === own) ??
      ofDomain[0] ??
      files.find(({ path }) => isNamed(path)) ??
      files.find(({ path }) => isNamed(bundleOf(path)))
    );
  }

  /**
   * The files that a name means: one file if it is the name of a file, otherwise the certificate of the domain with the
   * other files of its bundle (`x.pem.rsa`, `x.pem.ecdsa`).
   *
   * @throws AppError certificate_not_found
   */
  async filesOf(name: string): Promise<string[]> {
    const { path } = await this.require(name);
    const base = bundleOf(path);
    if (base === undefined || basename(path).toLowerCase() === name.toLowerCase()) return [path];
    const { files } = await this.list();
    return files.map((file) => file.path).filter((other) => bundleOf(other) === base);
  }

  /** @throws AppError certificate_not_found */
  async require(domain: string): Promise<CertificateFile> {
    const file = await this.find(domain);
    if (file) return file;
    throw this.notFound(domain);
  }

  notFound(domain: string): AppError {
    return new AppError(
      'certificate_not_found',
      `There is no certificate for ${domain} in ${this.#folder}. List the certificates with {haproxy_list_certs}, issue ` +
        'one with {haproxy_issue_cert}, or load your own with {haproxy_load_cert}.',
    );
  }

  /**
   * The text of a file; undefined if there is none. It contains a private key: never log it or send it to a caller.
   *
   * @throws AppError validation_failed (larger than 64 KB), or the error of the file system
   */
  read(path: string): Promise<string | undefined> {
    return readPem(path);
  }

  /**
   * The certificate of a file, with the key and the other parts that HAProxy reads from files beside it. Undefined if
   * the file does not exist.
   *
   * @throws AppError validation_failed (not a certificate with its key, or too large), or the error of the file system
   */
  readBundle(path: string): Promise<CertificateBundle | undefined> {
    return readBundle(path, new PartNames(this.config.sections).of(path));
  }

  /** Identifies what `readBundle` reads: it changes when the file or one of its parts changes. */
  async stampOf(path: string): Promise<string> {
    const parts = new PartNames(this.config.sections).of(path);
    const stamps = await Promise.all([path, ...Object.values(parts)].map((file) => stampOf(file)));
    return stamps.join(' ');
  }

  /** Writes a file with mode 0600. @throws AppError storage_failed */
  async write(path: string, pem: string | Uint8Array): Promise<void> {
    try {
      // A link often leads to a file of another ACME client, which must not change.
      await writeFileAtomic(path, pem, 0o600, { replaceLink: true });
      // A umask may have removed the owner's permissions.
      await chmod(path, 0o600);
    } catch (error) {
      throw storageError(error);
    }
  }

  /** Deletes a file, if it exists. @throws AppError storage_failed */
  async remove(path: string): Promise<void> {
    try {
      await unlink(path);
      await syncFolder(this.#folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw storageError(error);
    }
  }

  /** The files beside `path` that are only for its present certificate: OCSP response, issuer and SCT list. */
  async staleParts(path: string): Promise<string[]> {
    const { ocsp, issuer, sctl } = new PartNames(this.config.sections).of(path);
    const parts = [ocsp, issuer, sctl];
    const stamps = await Promise.all(parts.map((part) => stampOf(part)));
    return parts.filter((_, index) => stamps[index] !== undefined);
  }

  /**
   * Deletes the OCSP response, the issuer and the SCT list of an earlier certificate at `path`, because HAProxy may not
   * start with them beside another certificate. Returns the undo. @throws AppError storage_failed
   */
  async removeStaleParts(path: string): Promise<() => Promise<void>> {
    const removed = new Map<string, Buffer>();
    const restore = async () => {
      for (const [part, content] of removed) await this.write(part, content);
    };
    try {
      for (const part of await this.staleParts(path)) {
        const content = await readFile(part);
        await this.remove(part);
        removed.set(part, content);
      }
    } catch (error) {
      await restore();
      throw storageError(error);
    }
    return restore;
  }

  /** Deletes the key and the other files that belong only to the deleted file at `path`. @throws AppError storage_failed */
  async removeParts(path: string): Promise<void> {
    for (const part of Object.values(new PartNames(this.config.sections).of(path))) await this.remove(part);
  }

  /**
   * A PEM text is stored under a domain. A caller who names a file must not get a second file instead.
   *
   * @throws AppError validation_failed
   */
  async refuseFileName(name: string): Promise<void> {
    const file = await this.find(name);
    if (!file || file.domain === name) return;
    throw new AppError(
      'validation_failed',
      `${name} is a file of the certificate folder. Nothing was changed. Load the PEM text for the domain ${file.domain}, ` +
        'or replace the file on disk and load it without a PEM text.',
      { errors: [{ field: 'domain', message: 'must be a domain, because pem is given' }] },
    );
  }

  /** Renames a file to a hidden name that HAProxy ignores. @throws AppError storage_failed */
  async hide(path: string): Promise<void> {
    await this.#rename(path, hiddenName(path));
  }

  /** Copies a file to the hidden name of `hide`. @throws AppError storage_failed */
  async hideCopy(path: string): Promise<void> {
    const pem = await this.read(path);
    if (pem !== undefined) await this.write(hiddenName(path), pem);
  }

  /** Undoes `hide`, or replaces the file with the copy of `hideCopy`. @throws AppError storage_failed */
  async unhide(path: string): Promise<void> {
    await this.#rename(hiddenName(path), path);
  }

  async removeHidden(path: string): Promise<void> {
    await this.remove(hiddenName(path));
  }

  /** The original paths of all hidden files. A killed suite leaves them. */
  async hidden(): Promise<string[]> {
    const names = await readdir(this.#folder);
    return names.flatMap((name) => {
      const hidden = HIDDEN.exec(name)?.groups?.['name'];
      return hidden === undefined ? [] : [join(this.#folder, hidden)];
    });
  }

  async #rename(from: string, to: string): Promise<void> {
    try {
      await rename(from, to);
      await syncFolder(this.#folder);
    } catch (error) {
      throw storageError(error);
    }
  }

  /** All names in the folder, in the order in which HAProxy reads them. */
  async #names(): Promise<string[]> {
    const names = await readdir(this.#folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  /** Reads a file again only if it or one of its parts has changed. */
  async #content(
    path: string,
    parts: ReturnType<PartNames['of']>,
    present: ReadonlySet<string>,
  ): Promise<CertificateContent | null> {
    const stamps = [path, ...Object.values(parts)]
      .filter((file) => present.has(basename(file)))
      .map((file) => stampOf(file));
    const stamp = (await Promise.all(stamps)).join(' ');
    const cached = this.#cache.get(path);
    if (cached?.stamp === stamp) return cached.content;
    const content = await readContent(path, parts);
    // Forgets deleted files.
    if (this.#cache.size > 2 * present.size + 100) this.#cache.clear();
    this.#cache.set(path, { stamp, content });
    return content;
  }
}

function hiddenName(path: string): string {
  return join(dirname(path), `.${basename(path)}.deleted`);
}

/**
 * The file name without `.pem` (`.pem.rsa`), if it is a domain; otherwise the first name of the certificate. A file
 * name of one label (`0001-old`) counts only if the certificate is for it.
 */
function domainOf(name: string, leaf: X509Certificate): string {
  const stem = basename(bundleOf(name) ?? name, '.pem');
  const isDomain = stem !== name && canonicalDomain(stem) === stem && !isWildcard(stem);
  if (isDomain && (stem.includes('.') || matchesDomain(leaf, stem))) return stem;
  return firstDomain(leaf) ?? name;
}
