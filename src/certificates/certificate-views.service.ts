import { Injectable } from '@nestjs/common';
import type { HaproxyCertificate } from '../haproxy/ssl-cert.parser.js';
import { factsOf } from './certificate-facts.js';
import { type BrokenFile, CertificateFolder, type CertificateFile } from './certificate-folder.js';
import type { CertificateDto } from './certificates.dto.js';
import { DeployService, isServed } from './deploy.service.js';
import { ManagedCertificates } from './managed-certificates.js';

/** What `haproxy_health` and the metrics say about certificates. */
export interface CertificatesSummary {
  total: number;
  managed: number;
  /** Every certificate with less than 14 days left, the one that expires first, first. */
  expiring: { domain: string; days_left: number }[];
  /** Files that HAProxy does not serve as they are. Undefined where HAProxy does not answer. */
  notLoaded: string[] | undefined;
  /** Files that would keep HAProxy from starting. */
  broken: BrokenFile[];
  /** Managed certificates whose last renewal failed. */
  failing: { domain: string; failures: number; detail: string }[];
  /** When each expires, in seconds since 1970, for metrics. */
  expiries: { domain: string; notAfterSeconds: number }[];
}

const EXPIRING_DAYS = 14;

/** Certificates as callers see them: what the file says, whether HAProxy serves it, whether it renews. */
@Injectable()
export class CertificateViews {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly deploy: DeployService,
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

  async summary(): Promise<CertificatesSummary> {
    const [{ files, broken }, loaded] = await Promise.all([this.folder.list(), this.#loaded()]);
    const views = files.map((file) => this.#view(file, loaded));
    const failing = this.managed.domains().flatMap((domain) => {
      const entry = this.managed.get(domain);
      const detail = entry?.last_error?.detail;
      return entry && detail !== undefined ? [{ domain, failures: entry.failures, detail }] : [];
    });
    return {
      total: views.length,
      managed: views.filter((view) => view.auto_renew).length,
      expiring: views
        .filter((view) => view.days_left < EXPIRING_DAYS)
        .map(({ domain, days_left }) => ({ domain, days_left }))
        .toSorted((a, b) => a.days_left - b.days_left),
      notLoaded: loaded && views.filter((view) => !view.loaded).map((view) => view.path),
      broken,
      failing,
      expiries: views.map(({ domain, not_after }) => ({
        domain,
        notAfterSeconds: Date.parse(not_after) / 1000,
      })),
    };
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
    return this.deploy.loaded().catch(() => undefined);
  }
}
