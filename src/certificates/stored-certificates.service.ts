import { basename } from 'node:path';
import { Injectable } from '@nestjs/common';
import { matchesDomain, namesOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';
import { AcmeService } from './acme/acme.service.js';
import { CertificateInstaller, type Precedence } from './certificate-installer.service.js';
import { CertificateViews } from './certificate-views.service.js';
import type { DeletedCertificateDto, LoadCertificateDto, LoadedCertificateDto } from './certificates.dto.js';
import { ManagedCertificates } from './managed-certificates.js';

/** Loads and deletes certificates of the folder, which belong to the suite or to the operator. */
@Injectable()
export class StoredCertificates {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly installer: CertificateInstaller,
    private readonly acme: AcmeService,
    private readonly views: CertificateViews,
  ) {}

  /**
   * Deletes the certificate with its key file and the other files that belong to it; of a bundle (`x.pem.rsa`,
   * `x.pem.ecdsa`) all certificates, unless the file itself is named.
   *
   * @throws AppError certificate_not_found, haproxy_rejected, haproxy_unavailable, storage_failed
   */
  async delete(name: string): Promise<DeletedCertificateDto> {
    return this.installer.exclusively(await this.#keyOf(name), async () => {
      const { domain, path } = await this.folder.require(name);
      // A file with another name belongs to the operator and has no entry in certificates.json.
      if (path === this.folder.pathOf(domain)) {
        await this.managed.set(domain, undefined, () => this.installer.hide(path));
        await this.#deleteFiles(domain, path);
      } else {
        for (const file of await this.folder.filesOf(name)) {
          await this.installer.remove(file);
          await this.folder.removeParts(file);
        }
      }
      return { domain, path };
    });
  }

  /**
   * Loads `pem` in place of the domain's certificate. Without `pem`, loads the file in the folder, with all files of its
   * bundle.
   *
   * @throws AppError validation_failed (the PEM cannot be served), certificate_not_found, haproxy_rejected,
   * haproxy_unavailable, storage_failed
   */
  async load({ domain, pem }: LoadCertificateDto): Promise<LoadedCertificateDto> {
    const given = pem === undefined ? undefined : parseBundle(pem);
    return this.installer.exclusively(await this.#keyOf(domain), async () => {
      const loaded = given ? await this.#installGiven(domain, given) : await this.#loadFiles(domain);
      return { ...(await this.views.one(domain)), ...loaded };
    });
  }

  /**
   * Completes or undoes what a killed suite left: a deletion, or the replacement of a certificate of the suite. If the
   * entry of the domain is deleted, deletes its files too; else restores the hidden file. The restore that follows the
   * start brings HAProxy up to date.
   */
  async recover(): Promise<void> {
    for (const path of await this.folder.hidden()) {
      const domain = basename(path, '.pem');
      if (this.managed.get(domain)) await this.folder.unhide(path);
      else await this.#deleteFiles(domain, path);
    }
  }

  async #deleteFiles(domain: string, path: string): Promise<void> {
    await this.acme.forget(domain);
    await this.folder.removeHidden(path);
    await this.folder.removeParts(path);
  }

  async #installGiven(domain: string, bundle: CertificateBundle): Promise<LoadResult> {
    const path = this.folder.pathOf(domain);
    await this.folder.refuseFileName(domain);
    const isManaged = this.managed.get(domain) !== undefined;
    let rivals: readonly string[] = [];
    const choose = async () => {
      rivals = await this.installer.rivals(path, bundle.leaf);
      return this.installer.choiceOf(path, rivals);
    };
    // The copy lets `recover` undo a load that is killed before the entry is deleted.
    if (isManaged) await this.folder.hideCopy(path);
    try {
      const install = () => this.installer.install(path, bundle, rivals);
      const precedence = await this.managed.set(domain, undefined, install, choose);
      return resultOf([{ path, bundle, precedence }], domain);
    } finally {
      if (isManaged) await this.folder.removeHidden(path);
    }
  }

  async #loadFiles(name: string): Promise<LoadResult> {
    const { domain } = await this.folder.require(name);
    const files: { path: string; bundle: CertificateBundle; rivals: readonly string[] }[] = [];
    // All files are read first: if one of them cannot be served, none is loaded.
    for (const path of await this.folder.filesOf(name)) {
      const bundle = await this.folder.readBundle(path);
      if (bundle) files.push({ path, bundle, rivals: [] });
    }
    const choose = async () => {
      const chosen: string[] = [];
      for (const file of files) {
        file.rivals = await this.installer.rivals(file.path, file.bundle.leaf);
        chosen.push(...this.installer.choiceOf(file.path, file.rivals));
      }
      return chosen;
    };
    const loaded = await this.managed.choose(choose, async () => {
      const results: LoadedFile[] = [];
      for (const { path, rivals } of files)
        results.push({ path, ...(await this.installer.load(path, rivals)) });
      return results;
    });
    return resultOf(loaded ?? [], domain);
  }

  /** One certificate has one queue, whether a caller names its domain or its file. */
  async #keyOf(name: string): Promise<string> {
    return (await this.folder.find(name))?.domain ?? name;
  }
}

type LoadResult = Pick<LoadedCertificateDto, 'files' | 'rivals' | 'warnings'>;

interface LoadedFile {
  path: string;
  bundle: CertificateBundle;
  precedence: Precedence | undefined;
}

function resultOf(loaded: readonly LoadedFile[], domain: string): LoadResult {
  return {
    files: loaded.map(({ path }) => path),
    rivals: [...new Set(loaded.flatMap(({ precedence }) => precedence?.rivals ?? []))],
    warnings: [
      ...new Set(
        loaded.flatMap(({ bundle, precedence }) => [
          ...warningsOf(bundle, domain),
          ...(precedence?.warnings ?? []),
        ]),
      ),
    ],
  };
}

/** Warnings about a certificate that HAProxy will serve for `domain`. */
export function warningsOf(
  { leaf, warnings }: Pick<CertificateBundle, 'leaf' | 'warnings'>,
  domain: string,
): string[] {
  if (matchesDomain(leaf, domain)) return [...warnings];
  const names = namesOf(leaf).join(', ') || 'no name';
  return [
    ...warnings,
    `The certificate is not for ${domain}: HAProxy serves it to clients that ask for ${names}.`,
  ];
}
