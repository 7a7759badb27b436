import { Injectable } from '@nestjs/common';
import { factsOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder, type CertificateFile } from '../haproxy/certificates/certificate-folder.js';
import { CertificateLoader, isServed } from '../haproxy/certificates/certificate-loader.service.js';
import type { HaproxyCertificate } from '../haproxy/parsers/ssl-cert.parser.js';
import type { CertificateDto } from './certificates.dto.js';
import { ManagedCertificates } from './managed-certificates.js';

/** The state of one certificate, for health and metrics. */
export interface CertificateState {
  domain: string;
  /** Whole days until the certificate expires; negative after that. */
  days_left: number;
  /** Whether HAProxy serves the certificate. */
  loaded: boolean;
  /** The message of the last failed renewal. */
  problem?: string;
}

/** Certificates as callers see them: the file, whether HAProxy serves it, and whether the suite renews it. */
@Injectable()
export class CertificateViews {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly loader: CertificateLoader,
  ) {}

  /** All certificates of the folder, sorted by domain. */
  async all(): Promise<CertificateDto[]> {
    const [{ files }, loaded] = await Promise.all([this.folder.list(), this.#loaded()]);
    return files.map((file) => this.#view(file, loaded));
  }

  /** @throws AppError certificate_not_found */
  async one(domain: string): Promise<CertificateDto> {
    const file = await this.folder.require(domain);
    return this.#view(file, await this.#loaded());
  }

  async states(): Promise<readonly CertificateState[]> {
    const states: CertificateState[] = [];
    for (const { domain, days_left, loaded, auto_renew } of await this.all()) {
      const problem = auto_renew ? this.managed.get(domain)?.last_error?.detail : undefined;
      states.push({ domain, days_left, loaded, ...(problem !== undefined && { problem }) });
    }
    return states;
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

  /** Undefined if HAProxy does not answer: the files can be listed without HAProxy. */
  #loaded(): Promise<Map<string, HaproxyCertificate> | undefined> {
    return this.loader.loaded().catch(() => undefined);
  }
}
