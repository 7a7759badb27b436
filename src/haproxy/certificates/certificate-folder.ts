import type { X509Certificate } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { AppError, messageOf } from '../../errors/app-error.js';
import { storageError } from '../../errors/storage-error.js';
import { syncFolder, writeFileAtomic } from '../../lib/atomic-file.js';
import { canonicalDomain, isWildcard } from '../../model/domain-name.js';
import { Settings } from '../../settings/settings.js';
import { firstDomain, matchesDomain } from './certificate-facts.js';
import { leafOf, MAX_PEM_BYTES } from './pem.js';

export interface CertificateFile {
  path: string;
  /** The domain by which callers name the certificate. */
  domain: string;
  leaf: X509Certificate;
}

/** A file that HAProxy reads at start and that is not a certificate. HAProxy does not start with it. */
interface BrokenFile {
  path: string;
  reason: string;
}

/** Files that HAProxy ignores, or reads as a part of another file ("crt", section 5.1 of the configuration manual). */
const NOT_CERTIFICATES = /^\.|\.(?:key|ocsp|issuer|sctl)$/;
/** Temporary files of a suite that was killed during a write. */
const TEMPORARY = /^\..+\.pem(?:\.deleted)?\.\d+\.\d+\.tmp$/;
/** A certificate that is being deleted, or a copy of a certificate that the operator is replacing. */
const HIDDEN = /^\.(?<name>.+\.pem)\.deleted$/;

interface CachedLeaf {
  /** Changes when the file changes: inode, size and times. */
  stamp: string;
  leaf: X509Certificate | undefined;
}

/**
 * The folder from which HAProxy reads certificates. The operator may change it at any time, so each call reads the list
 * of files; a file is parsed again when it has changed.
 */
@Injectable()
export class CertificateFolder {
  readonly #folder: string;
  readonly #cache = new Map<string, CachedLeaf>();

  constructor(settings: Settings) {
    this.#folder = settings.folders.certs;
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

  /** All certificates, sorted by domain. If two files have the same domain, the file `<domain>.pem` comes first. */
  async list(): Promise<{ files: CertificateFile[]; broken: BrokenFile[] }> {
    const files: CertificateFile[] = [];
    const broken: BrokenFile[] = [];
    for (const name of await this.#names()) {
      const path = join(this.#folder, name);
      try {
        const leaf = await this.#leaf(path);
        if (leaf === null) continue;
        const domain = leaf && domainOf(name, leaf);
        if (!leaf || domain === undefined)
          broken.push({ path, reason: 'the file has no certificate with a domain name' });
        else files.push({ path, domain, leaf });
      } catch (error) {
        broken.push({ path, reason: messageOf(error) });
      }
    }
    const rank = (file: CertificateFile) =>
      `${file.domain} ${file.path === this.pathOf(file.domain) ? 0 : 1}`;
    files.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    return { files, broken };
  }

  async find(domain: string): Promise<CertificateFile | undefined> {
    const { files } = await this.list();
    return files.find((file) => file.domain === domain);
  }

  /** @throws AppError certificate_not_found */
  async require(domain: string): Promise<CertificateFile> {
    const file = await this.find(domain);
    if (file) return file;
    throw new AppError(
      'certificate_not_found',
      `There is no certificate for ${domain} in ${this.#folder}. List the certificates with haproxy_list_certs, issue ` +
        'one with haproxy_issue_cert, or load your own with haproxy_load_cert.',
    );
  }

  /**
   * The text of a file; undefined if there is none. It contains a private key: never log it or send it to a caller.
   *
   * @throws AppError validation_failed (larger than 64 KB), or the error of the file system
   */
  async read(path: string): Promise<string | undefined> {
    try {
      if ((await stat(path)).size > MAX_PEM_BYTES)
        throw new AppError(
          'validation_failed',
          `${path} is larger than ${MAX_PEM_BYTES / 1024} KB, the limit for a certificate. Use a shorter chain.`,
        );
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Writes a file with mode 0600. @throws AppError storage_failed */
  async write(path: string, pem: string): Promise<void> {
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

  async #names(): Promise<string[]> {
    const names = await readdir(this.#folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names.filter((name) => !NOT_CERTIFICATES.test(name));
  }

  /** The certificate of a file; undefined if it has none, null if `path` is not a file or does not exist any more. */
  async #leaf(path: string): Promise<X509Certificate | undefined | null> {
    const info = await stat(path).catch(() => undefined);
    if (!info?.isFile()) return null;
    const stamp = `${info.ino}:${info.size}:${info.mtimeMs}:${info.ctimeMs}`;
    const cached = this.#cache.get(path);
    if (cached?.stamp === stamp) return cached.leaf;
    const leaf = leafOf((await this.read(path)) ?? '');
    this.#cache.set(path, { stamp, leaf });
    return leaf;
  }
}

function hiddenName(path: string): string {
  return join(dirname(path), `.${basename(path)}.deleted`);
}

/**
 * The file name without `.pem`, if it is a domain; otherwise the first name of the certificate. A file name of one label
 * (`0001-old.pem`) is a domain only if the certificate has it.
 */
function domainOf(name: string, leaf: X509Certificate): string | undefined {
  const stem = basename(name, '.pem');
  const isDomain = canonicalDomain(stem) === stem && !isWildcard(stem);
  return isDomain && name.endsWith('.pem') && (stem.includes('.') || matchesDomain(leaf, stem))
    ? stem
    : firstDomain(leaf);
}
