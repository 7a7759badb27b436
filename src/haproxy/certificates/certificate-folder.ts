import type { X509Certificate } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { syncFolder, writeFileAtomic } from '../../lib/atomic-file.js';
import { storageError } from '../../errors/storage-error.js';
import { canonicalDomain, isWildcard } from '../../model/domain-name.js';
import { AppError, messageOf } from '../../errors/app-error.js';
import { Settings } from '../../settings/settings.js';
import { mainDomain } from './certificate-facts.js';
import { leafOf, MAX_PEM_BYTES } from './pem.js';

export interface CertificateFile {
  path: string;
  /** What callers name it by. */
  domain: string;
  leaf: X509Certificate;
}

/** A file that HAProxy would read and that is no certificate: it keeps HAProxy from starting. */
export interface BrokenFile {
  path: string;
  reason: string;
}

/** HAProxy leaves these out, or takes them as belonging to another file (crt, section 5.1 of its manual). */
const NOT_CERTIFICATES = /^\.|\.(?:key|ocsp|issuer|sctl)$/;
/** What a killed suite leaves of a file that it was writing. */
const LEFT_OVER = /^\..+\.pem(?:\.deleted)?\.\d+\.\d+\.tmp$/;
/** One that is being deleted, or replaced by one that is not the suite's. */
const HIDDEN = /^\.(?<name>.+\.pem)\.deleted$/;

interface Known {
  stamp: string;
  leaf: X509Certificate | undefined;
}

/** The folder that HAProxy reads its certificates from. What is in it is looked at anew each time, by its dates. */
@Injectable()
export class CertificateFolder {
  readonly #folder: string;
  readonly #known = new Map<string, Known>();

  constructor(settings: Settings) {
    this.#folder = settings.folders.certs;
  }

  /** Where a certificate of the suite's lies. */
  pathOf(domain: string): string {
    return join(this.#folder, `${domain}.pem`);
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder))
      if (LEFT_OVER.test(name)) await unlink(join(this.#folder, name));
  }

  /** Sorted by domain. Of two files about one domain the one called after it comes first. */
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
          broken.push({ path, reason: 'it holds no certificate of a domain' });
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
      `There is no certificate for ${domain}. haproxy_list_certs shows those there are; haproxy_issue_cert gets one, ` +
        'haproxy_load_cert takes one that you have.',
    );
  }

  /** Undefined where there is no such file. Holds a private key: never to be answered or logged. */
  async read(path: string): Promise<string | undefined> {
    try {
      if ((await stat(path)).size > MAX_PEM_BYTES)
        throw new AppError('validation_failed', `${path} is too large.`);
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async write(path: string, pem: string): Promise<void> {
    try {
      await writeFileAtomic(path, pem, 0o600);
      // A umask only takes away; the mode is what was asked for, whatever it is.
      await chmod(path, 0o600);
    } catch (error) {
      throw storageError(error);
    }
  }

  async remove(path: string): Promise<void> {
    try {
      await unlink(path);
      await syncFolder(this.#folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw storageError(error);
    }
  }

  /** Put aside under a name that HAProxy leaves out: neither deleted yet nor there. @throws AppError storage_failed */
  async hide(path: string): Promise<void> {
    await this.#rename(path, hiddenName(path));
  }

  /** A copy, where `hide` would put the file; it stays in its place. @throws AppError storage_failed */
  async hideCopy(path: string): Promise<void> {
    const pem = await this.read(path);
    if (pem !== undefined) await this.write(hiddenName(path), pem);
  }

  async unhide(path: string): Promise<void> {
    await this.#rename(hiddenName(path), path);
  }

  async removeHidden(path: string): Promise<void> {
    await this.remove(hiddenName(path));
  }

  /** What was put aside when the suite was killed, by the path it had. */
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

  /** Null for what is no file (or gone meanwhile). Parsed again only when the file is another one. */
  async #leaf(path: string): Promise<X509Certificate | undefined | null> {
    const info = await stat(path).catch(() => undefined);
    if (!info?.isFile()) return null;
    const stamp = `${info.ino}:${info.size}:${info.mtimeMs}:${info.ctimeMs}`;
    const known = this.#known.get(path);
    if (known?.stamp === stamp) return known.leaf;
    const leaf = leafOf((await this.read(path)) ?? '');
    this.#known.set(path, { stamp, leaf });
    return leaf;
  }
}

function hiddenName(path: string): string {
  return join(dirname(path), `.${basename(path)}.deleted`);
}

function domainOf(name: string, leaf: X509Certificate): string | undefined {
  const stem = basename(name, '.pem');
  return canonicalDomain(stem) === stem && !isWildcard(stem) && name.endsWith('.pem')
    ? stem
    : mainDomain(leaf);
}
