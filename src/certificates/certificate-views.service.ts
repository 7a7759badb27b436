import { Injectable } from '@nestjs/common';
import type { HaproxyCertificate } from '../haproxy/parsers/ssl-cert.parser.js';
import { factsOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder, type CertificateFile } from '../haproxy/certificates/certificate-folder.js';
import type { CertificateDto } from './certificates.dto.js';
import { CertificateLoader, isServed } from '../haproxy/certificates/certificate-loader.service.js';
import { ManagedCertificates } from './managed-certificates.js';

/** Certificates as callers see them: what the file says, whether HAProxy serves it, whether it renews. */
@Injectable()
export class CertificateViews {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly loader: CertificateLoader,
  ) {}

  async all(): Promise<CertificateDto[]> {
    const [{ files }, loaded] = await Promise.all([this.folder.list(), this.#loaded()]);
    return files.map((file) => this.#view(file, loaded));
  }

  /** @throws AppError certificate_not_found */
  async one(domain: string): Promise<CertificateDto> {
    const file = await this.folder.require(domain);
    return this.#view(file, await this.#loaded());
  }

  #view(file: CertificateFile, loaded: ReadonlyMap<string, HaproxyCertificate> | undefined): CertificateDto {
    const { domain, leaf, path } = file;
    const managed = path === this.folder.pathOf(domain) ? this.managed.get(domain) : undefined;
    return {
      domain,
      ...factsOf(leaf),
      loaded: isServed(loaded?.get(path), leaf),
      auto_renew: managed !== undefined,
      path,
      ...(managed?.last_error && { last_error: `${managed.last_error.code}: ${managed.last_error.detail}` }),
    };
  }

  /** Undefined where HAProxy does not answer: what is on disk can be shown all the same. */
  #loaded(): Promise<Map<string, HaproxyCertificate> | undefined> {
    return this.loader.loaded().catch(() => undefined);
  }
}
