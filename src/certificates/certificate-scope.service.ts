import { dirname } from 'node:path';
import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { AppError } from '../errors/app-error.js';
import { indexedNamesOf, namesOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { parseBundle } from '../haproxy/certificates/pem.js';
import { outOfScope } from '../model/scope/scope.js';
import { isCertificateInScope } from './certificate-views.service.js';
import { ManagedCertificates } from './managed-certificates.js';

/** What a change of the certificate of a domain makes. */
interface CertificateChange {
  /** The CA issues a certificate, with the wildcard of the domain too. */
  issues?: { wildcard: boolean };
  /** The text of the certificate that is loaded. */
  pem?: string | undefined;
}

/** The part of an answer that can name other certificates. */
interface NamesOthers {
  path: string;
  rivals?: string[];
  warnings?: string[];
  plan?: PlanStepDto[];
}

/** Which certificates the token of a caller may change, and what the answer may show. */
@Injectable()
export class CertificateScope {
  /**
   * The domains of the changes under way that can add a certificate, by the owner of the call, and how many changes each
   * domain has. Parallel calls would otherwise all count the same files.
   */
  readonly #pending = new Map<string, Map<string, number>>();

  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
  ) {}

  /**
   * Every name of the present certificate and of the new one must be in scope. The caller has checked the domain.
   *
   * @throws AppError forbidden; validation_failed for an invalid PEM
   */
  async require(domain: string, change: CertificateChange = {}): Promise<void> {
    const release = await this.reserve(domain, change);
    release();
  }

  /**
   * As `require`, and the new certificate counts in `max_certificates` from now on. Call what it returns when the change
   * has ended, also when it has failed.
   *
   * @throws as `require`
   */
  async reserve(domain: string, change: CertificateChange = {}): Promise<() => void> {
    const { scope, owner = '' } = callContext();
    const canAdd = change.issues !== undefined || change.pem !== undefined;
    if (scope?.fields.max_certificates === undefined || !canAdd) {
      await this.#check(domain, change, new Set());
      return () => undefined;
    }
    // Before the files are read: a change that ends meanwhile counts, whether its file was read or not.
    const earlier = new Set(this.#pending.get(owner)?.keys());
    this.#addPending(owner, domain, 1);
    const release = () => this.#addPending(owner, domain, -1);
    try {
      await this.#check(domain, change, earlier);
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  #addPending(owner: string, domain: string, more: 1 | -1): void {
    const domains = this.#pending.get(owner) ?? new Map<string, number>();
    const changes = (domains.get(domain) ?? 0) + more;
    if (changes > 0) domains.set(domain, changes);
    else domains.delete(domain);
    if (domains.size > 0) this.#pending.set(owner, domains);
    else this.#pending.delete(owner);
  }

  /** `pending` are the domains for which earlier calls of this caller may add a certificate. */
  async #check(
    domain: string,
    { issues, pem }: CertificateChange,
    pending: ReadonlySet<string>,
  ): Promise<void> {
    const { scope } = callContext();
    if (!scope) return;
    const { files } = await this.folder.list();
    const present = files.filter((file) => file.domain === domain);
    if (scope.limitsDomains) {
      const named = this.folder.findIn(files, domain);
      const isVisible = [...present, ...(named ? [named] : [])].every((file) =>
        isCertificateInScope(file, scope),
      );
      if (!isVisible) throw outOfScope();
      const hasWildcard = issues && (issues.wildcard || this.managed.get(domain)?.wildcard === true);
      const leaf = pem === undefined ? undefined : parseBundle(pem).leaf;
      const names = [
        domain,
        ...(hasWildcard ? [`*.${domain}`] : []),
        ...(leaf ? [...namesOf(leaf), ...indexedNamesOf(leaf)] : []),
      ];
      if (!scope.includesAll(names.map((name) => name.toLowerCase()))) throw outOfScope();
    }
    const { max_certificates: most } = scope.fields;
    const adds = present.length === 0 && (issues !== undefined || pem !== undefined);
    if (most === undefined || !adds) return;
    const own = files.filter((file) => isCertificateInScope(file, scope)).map((file) => file.domain);
    const others = new Set([...own, ...pending]);
    others.delete(domain);
    if (others.size >= most)
      throw new AppError(
        'forbidden',
        `This token may have at most ${most} certificate(s) (max_certificates). Nothing was changed. Delete one first with {haproxy_delete_cert}.`,
      );
  }

  /** The answer without the other certificates for its names. */
  narrowed<T extends NamesOthers>(answer: T): T {
    if (callContext().scope?.limitsDomains !== true) return answer;
    const { path, warnings, plan } = answer;
    // A warning about another certificate has its path.
    const folder = `${dirname(path)}/`;
    return {
      ...answer,
      ...(answer.rivals && { rivals: [] }),
      ...(warnings && { warnings: warnings.filter((text) => !text.includes(folder)) }),
      ...(plan && {
        plan: plan.filter(({ action, name }) => action !== 'load_certificate' || name === path),
      }),
    };
  }
}
