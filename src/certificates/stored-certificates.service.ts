import { basename } from 'node:path';
import { Injectable } from '@nestjs/common';
import { matchesDomain, namesOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';
import { AcmeService } from './acme/acme.service.js';
import { CertificateInstaller } from './certificate-installer.service.js';
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

  /** @throws AppError certificate_not_found, haproxy_rejected, haproxy_unavailable, storage_failed */
  delete(domain: string): Promise<DeletedCertificateDto> {
    return this.installer.exclusively(domain, async () => {
      const { path } = await this.folder.require(domain);
      // A file with another name belongs to the operator and has no entry in certificates.json.
      if (path !== this.folder.pathOf(domain)) await this.installer.remove(path);
      else {
        await this.managed.set(domain, undefined, () => this.installer.hide(path));
        await this.#deleteFiles(domain, path);
      }
      return { domain, path };
    });
  }

  /**
   * Loads `pem` in place of the domain's certificate. Without `pem`, loads the file in the folder.
   *
   * @throws AppError validation_failed (the PEM cannot be served), certificate_not_found, haproxy_rejected,
   * haproxy_unavailable, storage_failed
   */
  async load({ domain, pem }: LoadCertificateDto): Promise<LoadedCertificateDto> {
    const given = pem === undefined ? undefined : parseBundle(pem);
    return this.installer.exclusively(domain, async () => {
      const bundle = given ? await this.#installGiven(domain, given) : await this.#loadFile(domain);
      return { ...(await this.views.one(domain)), warnings: warningsOf(bundle, domain) };
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
  }

  async #installGiven(domain: string, bundle: CertificateBundle): Promise<CertificateBundle> {
    const path = this.folder.pathOf(domain);
    const isManaged = this.managed.get(domain) !== undefined;
    // The copy lets `recover` undo a load that is killed before the entry is deleted.
    if (isManaged) await this.folder.hideCopy(path);
    try {
      await this.managed.set(domain, undefined, () => this.installer.install(path, bundle));
    } finally {
      if (isManaged) await this.folder.removeHidden(path);
    }
    return bundle;
  }

  async #loadFile(domain: string): Promise<CertificateBundle> {
    const { path } = await this.folder.require(domain);
    return this.installer.load(path);
  }
}

/** Warnings about a certificate that HAProxy will serve for `domain`. */
export function warningsOf({ leaf, warnings }: CertificateBundle, domain: string): string[] {
  if (matchesDomain(leaf, domain)) return [...warnings];
  const names = namesOf(leaf).join(', ') || 'no name';
  return [
    ...warnings,
    `The certificate is not for ${domain}: HAProxy serves it to clients that ask for ${names}.`,
  ];
}
