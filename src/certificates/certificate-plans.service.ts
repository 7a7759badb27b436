import { basename } from 'node:path';
import { Injectable } from '@nestjs/common';
import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { fileStep } from '../contract/dry-run/describe-plan.js';
import { factsOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { CertificateLoader, isServed } from '../haproxy/certificates/certificate-loader.service.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';
import { Settings } from '../settings/settings.js';
import { AcmeService } from './acme/acme.service.js';
import { challengeFor } from './acme/challenge.js';
import { CertificateInstaller, isPemOf } from './certificate-installer.service.js';
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
import { IssuingService, requestOf } from './issuing.service.js';
import { type ManagedCertificate, ManagedCertificates } from './managed-certificates.js';
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
    private readonly acme: AcmeService,
    private readonly settings: Settings,
  ) {}

  /** @throws AppError certificate_not_found, haproxy_unavailable */
  async delete(name: string): Promise<DeletedCertificateDto> {
    const { domain, path } = await this.folder.require(name);
    const loaded = await this.loader.loaded();
    const plan = (await this.folder.filesOf(name)).flatMap((file) => [
      ...(loaded.has(file) ? [step('haproxy', 'delete_certificate', file, 'is removed from HAProxy')] : []),
      step('file', 'delete_certificate', file, 'is deleted'),
    ]);
    if (path === this.folder.pathOf(domain)) plan.push(...this.#unmanageSteps(domain));
    return { domain, path, dry_run: true, plan };
  }

  /** @throws AppError validation_failed, certificate_not_found, haproxy_rejected, haproxy_unavailable */
  async load({ domain, pem }: LoadCertificateDto): Promise<LoadedCertificateDto> {
    return pem === undefined ? this.#loadFiles(domain) : this.#loadGiven(domain, parseBundle(pem));
  }

  async #loadGiven(domain: string, given: CertificateBundle): Promise<LoadedCertificateDto> {
    await this.folder.refuseFileName(domain);
    const path = this.folder.pathOf(domain);
    const before = await this.folder.read(path);
    await this.installer.check();
    const plan: PlanStepDto[] = [];
    // The same certificate keeps them, also if its text changes.
    const stale = before !== undefined && isPemOf(before, given) ? [] : await this.folder.staleParts(path);
    for (const part of stale)
      plan.push(
        step('file', 'delete_certificate', part, 'is deleted, because it belongs to the earlier certificate'),
      );
    if (before !== given.pem)
      plan.push(fileStep(path, before === undefined ? 'is created' : 'is overwritten'));
    const { steps, isLoaded } = await this.#putSteps(path, given);
    plan.push(...steps, ...(await this.#rivalSteps(path, given)), ...this.#unmanageSteps(domain));
    return {
      domain,
      ...factsOf(given.leaf),
      loaded: isLoaded,
      not_tried: [],
      served_instead: [],
      auto_renew: false,
      path,
      warnings: warningsOf(given, domain),
      files: [path],
      rivals: [],
      dry_run: true,
      plan,
    };
  }

  async #loadFiles(name: string): Promise<LoadedCertificateDto> {
    const { domain } = await this.folder.require(name);
    const files = await this.folder.filesOf(name);
    const plan: PlanStepDto[] = [];
    const warnings = new Set<string>();
    await this.installer.check();
    for (const path of files) {
      const bundle = await this.folder.readBundle(path);
      if (!bundle) continue;
      for (const warning of warningsOf(bundle, domain)) warnings.add(warning);
      plan.push(...(await this.#putSteps(path, bundle)).steps, ...(await this.#rivalSteps(path, bundle)));
    }
    const view = await this.views.one(name);
    return { ...view, warnings: [...warnings], files, rivals: [], dry_run: true, plan };
  }

  /** HAProxy gets a certificate that it does not have. `isLoaded`: HAProxy has exactly this one. */
  async #putSteps(
    path: string,
    bundle: CertificateBundle,
  ): Promise<{ steps: PlanStepDto[]; isLoaded: boolean }> {
    const served = (await this.loader.loaded()).get(path);
    if (isServed(served, bundle.leaf)) return { steps: [], isLoaded: true };
    if (await this.loader.fitsRuntimeApi(bundle))
      return { steps: [loadStep(path, served !== undefined)], isLoaded: false };
    const reason = 'is reloaded, because the certificate is too large for the Runtime API';
    return { steps: [step('haproxy', 'reload', 'haproxy', reason)], isLoaded: false };
  }

  /** The other certificates for the same names, which HAProxy loads again so that it has them after this one. */
  async #rivalSteps(path: string, { leaf }: CertificateBundle): Promise<PlanStepDto[]> {
    const loaded = await this.loader.loaded();
    const rivals = (await this.loader.rivals(path, leaf)).filter((rival) => loaded.has(rival));
    return rivals.map((rival) =>
      step('haproxy', 'load_certificate', rival, `is loaded again, so that visitors get ${basename(path)}`),
    );
  }

  /** @throws AppError acme_failed (acme.sh or a setting is missing), haproxy_rejected, haproxy_unavailable */
  async issue(input: IssueCertificateDto): Promise<IssuedCertificateDto> {
    const { domain, wildcard } = input;
    const entry = this.issuing.wanted(input);
    challengeFor({ domain, ...requestOf(entry) }, this.settings.acme);
    const valid = await this.issuing.findValid(domain, wildcard);
    if (!valid) return this.#issued(domain, await this.#obtainSteps(domain, entry));
    await this.installer.check();
    const bundle = await this.folder.readBundle(valid.path);
    if (!bundle) return this.#issued(domain, []);
    const { steps } = await this.#putSteps(valid.path, bundle);
    return this.#issued(domain, [...steps, ...(await this.#rivalSteps(valid.path, bundle))]);
  }

  /**
   * @throws AppError certificate_not_found, validation_failed (not managed), acme_failed (acme.sh or a setting is missing),
   * haproxy_rejected, haproxy_unavailable
   */
  async renew({ domain, force }: RenewCertificateDto): Promise<IssuedCertificateDto> {
    const entry = await this.issuing.requireManaged(domain);
    const isNeeded = force || (await this.issuing.isDue(domain));
    return this.#issued(domain, isNeeded ? await this.#obtainSteps(domain, entry) : []);
  }

  async renewAll(): Promise<RenewAllDto> {
    const report: RenewAllDto = { renewed: [], skipped: [], failed: [] };
    const plan: PlanStepDto[] = [];
    for (const domain of this.managed.domains()) {
      try {
        if (await this.issuing.isDue(domain))
          plan.push(...(await this.#obtainSteps(domain, await this.issuing.requireManaged(domain))));
        else report.skipped.push(domain);
      } catch (error) {
        report.failed.push(failedRenewal(domain, error));
      }
    }
    return { ...report, dry_run: true, plan };
  }

  /** The steps of issuing a certificate, after the checks that cost nothing. */
  async #obtainSteps(domain: string, entry: ManagedCertificate): Promise<PlanStepDto[]> {
    await this.installer.check();
    const request = { domain, ...requestOf(entry) };
    await this.acme.requireReady(request);
    const { wildcard } = request;
    const challenge = challengeFor(request, this.settings.acme);
    const names = wildcard ? [domain, `*.${domain}`] : [domain];
    const path = this.folder.pathOf(domain);
    const isLoaded = (await this.loader.loaded()).has(path);
    const { server } = this.settings.acme;
    return [
      {
        target: 'ca',
        action: 'issue_certificate',
        name: domain,
        text: `${domain}: ${server} issues a certificate for ${names.join(' and ')} (challenge ${challenge})`,
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
    return { ...now, rivals: [], renewed: false, dry_run: true, plan };
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
