import { basename } from 'node:path';
import { Injectable } from '@nestjs/common';
import { AcmeService } from './acme.service.js';
import { isAbout, namesOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { CertificateLocks } from './certificate-locks.js';
import { CertificateViews } from './certificate-views.service.js';
import type { DeletedCertificateDto, LoadCertificateDto, LoadedCertificateDto } from './certificates.dto.js';
import { DeployService } from './deploy.service.js';
import { ManagedCertificates } from './managed-certificates.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';

/** Certificates that are there, whoever got them: loading and deleting. */
@Injectable()
export class StoredCertificates {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly deploy: DeployService,
    private readonly acme: AcmeService,
    private readonly locks: CertificateLocks,
    private readonly views: CertificateViews,
  ) {}

  /** @throws AppError certificate_not_found, haproxy_rejected, haproxy_unavailable, storage_failed */
  delete(domain: string): Promise<DeletedCertificateDto> {
    return this.locks.run(domain, async () => {
      const { path } = await this.folder.require(domain);
      // The suite's own goes with its notes; a second file about the domain, put there by hand, has none.
      if (path !== this.folder.pathOf(domain)) await this.deploy.remove(path);
      else {
        await this.managed.set(domain, undefined, () => this.deploy.hide(path));
        await this.#forget(domain, path);
      }
      return { domain, path };
    });
  }

  /**
   * After a suite that was killed in a deletion, or while one of its certificates was replaced by another: either its
   * notes are gone, and then the rest goes too, or the certificate is there as before. HAProxy is seen to by the
   * restore that follows.
   */
  async recover(): Promise<void> {
    for (const path of await this.folder.hidden()) {
      const domain = basename(path, '.pem');
      if (this.managed.get(domain)) await this.folder.unhide(path);
      else await this.#forget(domain, path);
    }
  }

  async #forget(domain: string, path: string): Promise<void> {
    await this.acme.forget(domain);
    await this.folder.removeHidden(path);
  }

  /** @throws AppError validation_failed for a PEM that cannot be served; as `delete` */
  async load({ domain, pem }: LoadCertificateDto): Promise<LoadedCertificateDto> {
    const given = pem === undefined ? undefined : parseBundle(pem);
    return this.locks.run(domain, async () => {
      const bundle = given ? await this.#store(domain, given) : await this.#loadFile(domain);
      return { ...(await this.views.one(domain)), warnings: warningsOf(bundle, domain) };
    });
  }

  async #store(domain: string, bundle: CertificateBundle): Promise<CertificateBundle> {
    const path = this.folder.pathOf(domain);
    const isOwn = this.managed.get(domain) !== undefined;
    // Or a kill before the notes are gone would leave one that is served and still renewed over.
    if (isOwn) await this.folder.hideCopy(path);
    try {
      await this.managed.set(domain, undefined, () => this.deploy.put(path, bundle));
    } finally {
      if (isOwn) await this.folder.removeHidden(path);
    }
    return bundle;
  }

  async #loadFile(domain: string): Promise<CertificateBundle> {
    const { path } = await this.folder.require(domain);
    return this.deploy.load(path);
  }
}

/** What is odd about a certificate that is to be served for a domain. */
export function warningsOf({ leaf, warnings }: CertificateBundle, domain: string): string[] {
  if (isAbout(leaf, domain)) return [...warnings];
  const names = namesOf(leaf).join(', ') || 'nothing';
  return [...warnings, `It is not for ${domain}: HAProxy serves it to clients that ask for ${names}.`];
}
