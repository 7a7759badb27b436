import { Injectable } from '@nestjs/common';
import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { fileStep } from '../contract/dry-run/describe-plan.js';
import { Settings } from '../settings/settings.js';
import { findAcmeScript } from './acme-script.js';
import { factsOf } from '../haproxy/certificates/certificate-facts.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
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
import { DeployService, isServed } from './deploy.service.js';
import { IssuingService } from './issuing.service.js';
import { ManagedCertificates } from './managed-certificates.js';
import { parseBundle } from '../haproxy/certificates/pem.js';
import { warningsOf } from './stored-certificates.service.js';

/**
 * Dry runs: what would become of certificates, and whether what is needed is there. They ask HAProxy and look at
 * files, and neither run acme.sh nor wait for what is under way.
 */
@Injectable()
export class CertificatePlans {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly deploy: DeployService,
    private readonly issuing: IssuingService,
    private readonly views: CertificateViews,
    private readonly settings: Settings,
  ) {}

  /** @throws AppError certificate_not_found, haproxy_unavailable */
  async delete(domain: string): Promise<DeletedCertificateDto> {
    const { path } = await this.folder.require(domain);
    const isKnown = (await this.deploy.loaded()).has(path);
    const plan: PlanStepDto[] = [
      ...(isKnown ? [step('haproxy', 'delete_certificate', path, 'is served no more')] : []),
      step('file', 'delete_certificate', path, 'is deleted'),
      ...(path === this.folder.pathOf(domain) ? this.#forgotten(domain) : []),
    ];
    return { domain, path, dry_run: true, plan };
  }

  /** @throws AppError validation_failed, certificate_not_found, haproxy_rejected, haproxy_unavailable */
  async load({ domain, pem }: LoadCertificateDto): Promise<LoadedCertificateDto> {
    const given = pem === undefined ? undefined : parseBundle(pem);
    const path = given ? this.folder.pathOf(domain) : (await this.folder.require(domain)).path;
    const before = await this.folder.read(path);
    const bundle = given ?? parseBundle(before ?? '');
    await this.deploy.check();
    const served = (await this.deploy.loaded()).get(path);
    const isLoaded = isServed(served, bundle.leaf);
    const plan: PlanStepDto[] = [];
    if (given && before !== given.pem)
      plan.push(fileStep(path, before === undefined ? 'is made' : 'is written anew'));
    if (!isLoaded && !(await this.deploy.isTaken(bundle)))
      plan.push(
        step('haproxy', 'reload', 'haproxy', 'is reloaded: the certificate is too large to go in otherwise'),
      );
    else if (!isLoaded) plan.push(this.#loading(path, served !== undefined));
    if (given) plan.push(...this.#forgotten(domain));
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

  /** @throws AppError acme_failed where there is no acme.sh, haproxy_rejected, haproxy_unavailable */
  async issue({ domain, wildcard }: IssueCertificateDto): Promise<IssuedCertificateDto> {
    const good = await this.issuing.good(domain, wildcard);
    if (!good) {
      const isWide = wildcard || (this.managed.get(domain)?.wildcard ?? false);
      return this.#issued(domain, await this.#obtaining(domain, isWide));
    }
    await this.deploy.check();
    const served = (await this.deploy.loaded()).get(good.path);
    const isLoaded = isServed(served, good.leaf);
    return this.#issued(domain, isLoaded ? [] : [this.#loading(good.path, served !== undefined)]);
  }

  /** @throws AppError certificate_not_found, validation_failed for one that is not managed; as `issue` */
  async renew({ domain, force }: RenewCertificateDto): Promise<IssuedCertificateDto> {
    const { wildcard } = await this.issuing.requireManaged(domain);
    const isNeeded = force || (await this.issuing.isDue(domain));
    return this.#issued(domain, isNeeded ? await this.#obtaining(domain, wildcard) : []);
  }

  async renewAll(): Promise<RenewAllDto> {
    const report: RenewAllDto = { renewed: [], skipped: [], failed: [] };
    const plan: PlanStepDto[] = [];
    for (const domain of this.managed.domains()) {
      try {
        if (await this.issuing.isDue(domain))
          plan.push(...(await this.#obtaining(domain, this.managed.get(domain)?.wildcard ?? false)));
        else report.skipped.push(domain);
      } catch (error) {
        const { code, detail } =
          error instanceof AppError ? error : { code: 'internal_error', detail: messageOf(error) };
        report.failed.push({ domain, code, detail });
      }
    }
    return { ...report, dry_run: true, plan };
  }

  /** What getting a certificate would do, after all checks of it that cost nothing. */
  async #obtaining(domain: string, wildcard: boolean): Promise<PlanStepDto[]> {
    await this.deploy.check();
    await findAcmeScript(this.settings.acme);
    const names = wildcard ? [domain, `*.${domain}`] : [domain];
    const path = this.folder.pathOf(domain);
    const isKnown = (await this.deploy.loaded()).has(path);
    const { server } = this.settings.acme;
    return [
      step('ca', 'issue_certificate', domain, `: ${server} issues a certificate for ${names.join(' and ')}`),
      fileStep(this.settings.files.certificates, `notes that ${domain} is renewed`),
      fileStep(path, 'is written'),
      this.#loading(path, isKnown),
    ];
  }

  /** The certificate as it is now, or what is known of one that is not there yet. */
  async #issued(domain: string, plan: PlanStepDto[]): Promise<IssuedCertificateDto> {
    const file = await this.folder.find(domain);
    const now = file
      ? await this.views.one(domain)
      : { domain, sans: [], loaded: false, auto_renew: false, path: this.folder.pathOf(domain) };
    return { ...now, renewed: false, dry_run: true, plan };
  }

  #forgotten(domain: string): PlanStepDto[] {
    if (!this.managed.get(domain)) return [];
    return [fileStep(this.settings.files.certificates, `notes that ${domain} is renewed no more`)];
  }

  #loading(path: string, isKnown: boolean): PlanStepDto {
    return step(
      'haproxy',
      'load_certificate',
      path,
      isKnown ? 'takes the place of what is served' : 'is added',
    );
  }
}

function step(
  target: PlanStepDto['target'],
  action: PlanStepDto['action'],
  name: string,
  words: string,
): PlanStepDto {
  return { target, action, name, text: words.startsWith(':') ? name + words : `${name} ${words}` };
}
