import { Injectable } from '@nestjs/common';
import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { fileStep } from '../contract/dry-run/describe-plan.js';
import { factsOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { CertificateLoader, isServed } from '../haproxy/certificates/certificate-loader.service.js';
import { parseBundle } from '../haproxy/certificates/pem.js';
import { Settings } from '../settings/settings.js';
import { findAcmeScript } from './acme/acme-script.js';
import { CertificateInstaller } from './certificate-installer.service.js';
import { CertificateViews } from './certificate-views.service.js';
import type {
  DeletedCertificateDto,
  IssueCertificateDto,
  IssuedCertificateDto,
  LoadCertificateDto,
  LoadedCertificateDto,
  RenewAllDto,
  RenewCertificateDto,
} from './certificates.dto.js';
import { IssuingService } from './issuing.service.js';
import { ManagedCertificates } from './managed-certificates.js';
import { failedRenewal } from './renewal.service.js';
import { warningsOf } from './stored-certificates.service.js';

/**
 * Dry runs: the steps that a change would take, and the errors that can be found in advance. A dry run reads HAProxy and
 * files. It does not run acme.sh and does not wait for changes in progress.
 */
@Injectable()
export class CertificatePlans {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly installer: CertificateInstaller,
    private readonly loader: CertificateLoader,
    private readonly issuing: IssuingService,
    private readonly views: CertificateViews,
    private readonly settings: Settings,
  ) {}

  /** @throws AppError certificate_not_found, haproxy_unavailable */
  async delete(domain: string): Promise<DeletedCertificateDto> {
    const { path } = await this.folder.require(domain);
    const isLoaded = (await this.loader.loaded()).has(path);
    const plan: PlanStepDto[] = [
      ...(isLoaded ? [step('haproxy', 'delete_certificate', path, 'is removed from HAProxy')] : []),
      step('file', 'delete_certificate', path, 'is deleted'),
      ...(path === this.folder.pathOf(domain) ? this.#unmanageSteps(domain) : []),
    ];
    return { domain, path, dry_run: true, plan };
  }

  /** @throws AppError validation_failed, certificate_not_found, haproxy_rejected, haproxy_unavailable */
  async load({ domain, pem }: LoadCertificateDto): Promise<LoadedCertificateDto> {
    const given = pem === undefined ? undefined : parseBundle(pem);
    const path = given ? this.folder.pathOf(domain) : (await this.folder.require(domain)).path;
    const before = await this.folder.read(path);
    const bundle = given ?? parseBundle(before ?? '');
    await this.installer.check();
    const served = (await this.loader.loaded()).get(path);
    const isLoaded = isServed(served, bundle.leaf);
    const plan: PlanStepDto[] = [];
    if (given && before !== given.pem)
      plan.push(fileStep(path, before === undefined ? 'is created' : 'is overwritten'));
    if (!isLoaded && !(await this.loader.fitsRuntimeApi(bundle)))
      plan.push(
        step(
          'haproxy',
          'reload',
          'haproxy',
          'is reloaded, because the certificate is too large for the Runtime API',
        ),
      );
    else if (!isLoaded) plan.push(loadStep(path, served !== undefined));
    if (given) plan.push(...this.#unmanageSteps(domain));
    return {
      domain,
      ...factsOf(bundle.leaf),
      loaded: isLoaded,
      auto_renew: !given && path === this.folder.pathOf(domain) && this.managed.get(domain) !== undefined,
      path,
      warnings: warningsOf(bundle, domain),
      dry_run: true,
      plan,
    };
  }

  /** @throws AppError acme_failed (acme.sh is not installed), haproxy_rejected, haproxy_unavailable */
  async issue({ domain, wildcard }: IssueCertificateDto): Promise<IssuedCertificateDto> {
    const valid = await this.issuing.findValid(domain, wildcard);
    if (!valid) {
      const withWildcard = wildcard || (this.managed.get(domain)?.wildcard ?? false);
      return this.#issued(domain, await this.#obtainSteps(domain, withWildcard));
    }
    await this.installer.check();
    const served = (await this.loader.loaded()).get(valid.path);
    const isLoaded = isServed(served, valid.leaf);
    return this.#issued(domain, isLoaded ? [] : [loadStep(valid.path, served !== undefined)]);
  }

  /**
   * @throws AppError certificate_not_found, validation_failed (not managed), acme_failed (acme.sh is not installed),
   * haproxy_rejected, haproxy_unavailable
   */
  async renew({ domain, force }: RenewCertificateDto): Promise<IssuedCertificateDto> {
    const { wildcard } = await this.issuing.requireManaged(domain);
    const isNeeded = force || (await this.issuing.isDue(domain));
    return this.#issued(domain, isNeeded ? await this.#obtainSteps(domain, wildcard) : []);
  }

  async renewAll(): Promise<RenewAllDto> {
    const report: RenewAllDto = { renewed: [], skipped: [], failed: [] };
    const plan: PlanStepDto[] = [];
    for (const domain of this.managed.domains()) {
      try {
        if (await this.issuing.isDue(domain))
          plan.push(...(await this.#obtainSteps(domain, this.managed.get(domain)?.wildcard ?? false)));
        else report.skipped.push(domain);
      } catch (error) {
        report.failed.push(failedRenewal(domain, error));
      }
    }
    return { ...report, dry_run: true, plan };
  }

  /** The steps of issuing a certificate, after the checks that cost nothing. */
  async #obtainSteps(domain: string, wildcard: boolean): Promise<PlanStepDto[]> {
    await this.installer.check();
    await findAcmeScript(this.settings.acme);
    const names = wildcard ? [domain, `*.${domain}`] : [domain];
    const path = this.folder.pathOf(domain);
    const isLoaded = (await this.loader.loaded()).has(path);
    const { server } = this.settings.acme;
    return [
      {
        target: 'ca',
        action: 'issue_certificate',
        name: domain,
        text: `${domain}: ${server} issues a certificate for ${names.join(' and ')}`,
      },
      fileStep(this.settings.files.certificates, `records that ${domain} is renewed`),
      fileStep(path, 'is written'),
      loadStep(path, isLoaded),
    ];
  }

  /** The certificate as it is now. If there is none yet, only the facts that are known in advance. */
  async #issued(domain: string, plan: PlanStepDto[]): Promise<IssuedCertificateDto> {
    const file = await this.folder.find(domain);
    const now = file
      ? await this.views.one(domain)
      : { domain, sans: [], loaded: false, auto_renew: false, path: this.folder.pathOf(domain) };
    return { ...now, renewed: false, dry_run: true, plan };
  }

  #unmanageSteps(domain: string): PlanStepDto[] {
    if (!this.managed.get(domain)) return [];
    return [fileStep(this.settings.files.certificates, `records that ${domain} is no longer renewed`)];
  }
}

function loadStep(path: string, isReplaced: boolean): PlanStepDto {
  const text = isReplaced ? 'replaces the certificate that HAProxy has' : 'is added to HAProxy';
  return step('haproxy', 'load_certificate', path, text);
}

function step(
  target: PlanStepDto['target'],
  action: PlanStepDto['action'],
  name: string,
  words: string,
): PlanStepDto {
  return { target, action, name, text: `${name} ${words}` };
}
