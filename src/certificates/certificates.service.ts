import { Injectable } from '@nestjs/common';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { recordFormer } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { paginate } from '../contract/pages/page.js';
import { McpResource } from '../contract/resource.js';
import { JobsService } from '../jobs/jobs.service.js';
import type { RunningJob } from '../jobs/running-job.js';
import { AcmeService } from './acme/acme.service.js';
import { CertificatePlans } from './certificate-plans.service.js';
import { CertificateScope } from './certificate-scope.service.js';
import { CertificateViews } from './certificate-views.service.js';
import {
  CertificateDto,
  CertificateListDto,
  CertificateRefDto,
  DeleteCertificateDto,
  DeletedCertificateDto,
  IssueCertificateDto,
  IssuedCertificateDto,
  ListCertificatesDto,
  LoadCertificateDto,
  LoadedCertificateDto,
  RenewAllDto,
  RenewCertificateDto,
} from './certificates.dto.js';
import { sortedCertificates } from './certificate-order.js';
import { IssuingService, requestOf } from './issuing.service.js';
import { RenewalService } from './renewal.service.js';
import { StoredCertificates } from './stored-certificates.service.js';

/** The operations on certificates. Issuing and renewing run as jobs, because a CA may take minutes. */
@Injectable()
export class CertificatesService {
  constructor(
    private readonly views: CertificateViews,
    private readonly stored: StoredCertificates,
    private readonly plans: CertificatePlans,
    private readonly issuing: IssuingService,
    private readonly renewal: RenewalService,
    private readonly jobs: JobsService,
    private readonly acme: AcmeService,
    private readonly scope: CertificateScope,
  ) {}

  @Operation({
    name: 'haproxy_list_certs',
    scope: 'view',
    title: 'List certificates',
    description:
      'Lists all certificates in the certificate folder, sorted by domain: names, issuer, expiry, whether visitors get ' +
      'exactly this certificate, and whether the suite renews it. With expires_within, only those that expire within so ' +
      'many days, by days left. {haproxy_cert_info} shows one certificate.',
    output: CertificateListDto,
    readOnly: true,
    idempotent: true,
  })
  @McpResource({
    uri: 'haproxy://certificates',
    scope: 'view',
    name: 'certificates',
    title: 'Certificates',
    description:
      'The first 100 certificates by domain, as in {haproxy_list_certs}: names, issuer, expiry, whether visitors get ' +
      'each one, and whether the suite renews it.',
    mimeType: 'application/json',
    changesWith: ['certificates'],
  })
  async list(input: ListCertificatesDto): Promise<CertificateListDto> {
    const { sorted, keyOf } = sortedCertificates(await this.views.files(), input.expires_within);
    const page = paginate(sorted, keyOf, input);
    return { ...page, items: await this.views.many(page.items) };
  }

  @Operation({
    name: 'haproxy_cert_info',
    scope: 'view',
    command: 'certs get',
    title: 'Show a certificate',
    description:
      'Shows the certificate of a domain: names, issuer, serial number, validity, days left, key type, whether TLS ' +
      'handshakes get it, its file, and why its last renewal failed. Use it after you issue, renew or load a ' +
      'certificate. {haproxy_list_certs} lists all.',
    output: CertificateDto,
    readOnly: true,
    idempotent: true,
    errors: ['certificate_not_found'],
  })
  info(input: CertificateRefDto): Promise<CertificateDto> {
    return this.views.one(input.domain);
  }

  @Operation({
    name: 'haproxy_issue_cert',
    scope: 'change',
    title: 'Issue a certificate',
    description:
      'Gets a certificate for a domain from the CA (ACME). HAProxy serves it at once, ' +
      'and the suite renews it. Takes seconds to minutes. A valid certificate is returned unchanged; ' +
      '{haproxy_renew_cert} with force replaces it. For your own certificate use {haproxy_load_cert}.',
    output: IssuedCertificateDto,
    idempotent: true,
    openWorld: true,
    runsAsJob: true,
    errors: ['acme_failed', 'acme_timeout', 'payload_too_large'],
  })
  async issue(input: IssueCertificateDto): Promise<IssuedCertificateDto> {
    if (!input.dry_run) return (await this.startIssue(input)).wait();
    await this.scope.require(input.domain, { issues: input });
    return this.scope.narrowed(await this.plans.issue(input));
  }

  /**
   * Starts the job if everything that it needs is there, so that a caller learns at once what is missing.
   *
   * @throws AppError acme_failed, validation_failed (a wildcard with http-01), shutting_down
   */
  async startIssue(input: IssueCertificateDto): Promise<RunningJob<IssuedCertificateDto>> {
    const { domain, wildcard, challenge } = input;
    const release = await this.scope.reserve(domain, { issues: { wildcard } });
    return releasedAtEnd(release, async () => {
      await this.issuing.requireReady(input);
      return this.jobs.start(
        {
          kind: 'issue_cert',
          key: `${domain} ${wildcard} ${challenge}`,
          domain,
          given: { domain, wildcard, challenge },
        },
        async (job) => {
          const { renewed, precedence } = await this.issuing.issue(input, job);
          return this.scope.narrowed({
            ...(await this.views.one(domain)),
            renewed,
            rivals: [...precedence.rivals],
          });
        },
      );
    });
  }

  @Operation({
    name: 'haproxy_renew_cert',
    scope: 'change',
    title: 'Renew a certificate',
    description:
      'Renews a certificate that the suite issued, if it is due, or always with force. HAProxy serves the old ' +
      'certificate until the new one is installed, and keeps it if renewal fails. The suite renews due certificates ' +
      'itself, so you rarely need this.',
    output: IssuedCertificateDto,
    openWorld: true,
    runsAsJob: true,
    errors: ['certificate_not_found', 'acme_failed', 'acme_timeout', 'payload_too_large'],
  })
  async renew(input: RenewCertificateDto): Promise<IssuedCertificateDto> {
    if (!input.dry_run) return (await this.startRenew(input)).wait();
    await this.scope.require(input.domain, { issues: { wildcard: false } });
    return this.scope.narrowed(await this.plans.renew(input));
  }

  /**
   * Starts the job if everything that it needs is there, as `startIssue` does.
   *
   * @throws AppError certificate_not_found, validation_failed (not managed), acme_failed, shutting_down
   */
  async startRenew({ domain, force }: RenewCertificateDto): Promise<RunningJob<IssuedCertificateDto>> {
    const release = await this.scope.reserve(domain, { issues: { wildcard: false } });
    return releasedAtEnd(release, async () => {
      const entry = await this.issuing.requireManaged(domain);
      if (force || (await this.issuing.isDue(domain)))
        await this.acme.requireReady({ domain, ...requestOf(entry) });
      return this.jobs.start(
        { kind: 'renew_cert', key: `${domain} ${force}`, domain, given: { domain, force } },
        async (job) => {
          const { renewed, precedence } = await this.issuing.renew(domain, force, job);
          return this.scope.narrowed({
            ...(await this.views.one(domain)),
            renewed,
            rivals: [...precedence.rivals],
          });
        },
      );
    });
  }

  @Operation({
    name: 'haproxy_renew_all_certs',
    scope: 'all',
    command: 'certs renew-all',
    title: 'Renew all due certificates',
    description:
      'Renews every due certificate that the suite issued, and returns the result of each. A failure does not stop ' +
      'the others. The suite does this every hour: call it only after you fixed the cause of failed renewals.',
    output: RenewAllDto,
    idempotent: true,
    openWorld: true,
    runsAsJob: true,
    errors: ['acme_failed'],
  })
  async renewAll({ dry_run }: DryRunDto): Promise<RenewAllDto> {
    return dry_run ? this.plans.renewAll() : (await this.startRenewAll()).wait();
  }

  /** @throws AppError acme_failed, if none of the due certificates can be renewed; shutting_down */
  async startRenewAll(): Promise<RunningJob<RenewAllDto>> {
    await this.#requireAnyReady(await this.renewal.due());
    return this.jobs.start({ kind: 'renew_all_certs', key: '' }, (job) =>
      this.renewal.renewDue(job, { scheduled: false }),
    );
  }

  @Operation({
    name: 'haproxy_delete_cert',
    scope: 'change',
    title: 'Delete a certificate',
    description:
      'Removes a certificate from HAProxy, deletes its file and ends its renewal; it is not revoked. Clients of the ' +
      'domain then get no TLS connection, unless another certificate covers it. To replace a certificate, use ' +
      '{haproxy_renew_cert} or {haproxy_load_cert}.',
    output: DeletedCertificateDto,
    destructive: true,
    errors: ['certificate_not_found'],
  })
  async delete(input: DeleteCertificateDto): Promise<DeletedCertificateDto> {
    await this.scope.require(input.domain);
    const before = await this.#former(input.domain);
    const deleted = await (input.dry_run
      ? this.plans.delete(input.domain)
      : this.stored.delete(input.domain));
    return this.scope.narrowed({ ...deleted, ...(before && { before }) });
  }

  @Operation({
    name: 'haproxy_load_cert',
    scope: 'change',
    title: 'Load a certificate',
    description:
      'Makes HAProxy serve a certificate of your own: the given PEM text (certificate, chain and unencrypted key), ' +
      'or, if absent, the files in the certificate folder. Other certificates for its names lose. The suite does ' +
      'not renew a certificate that was loaded from a text. Next: {haproxy_cert_info}.',
    output: LoadedCertificateDto,
    destructive: true,
    idempotent: true,
    errors: ['certificate_not_found', 'payload_too_large'],
  })
  async load(input: LoadCertificateDto): Promise<LoadedCertificateDto> {
    const release = await this.scope.reserve(input.domain, { pem: input.pem });
    try {
      const before = await this.#former(input.domain);
      const loaded = await (input.dry_run ? this.plans.load(input) : this.stored.load(input));
      return this.scope.narrowed({ ...loaded, ...(before && { before }) });
    } finally {
      release();
    }
  }

  /** A failure must not stop the others, so one domain that can be renewed is enough. */
  async #requireAnyReady(domains: readonly string[]): Promise<void> {
    const results = await Promise.allSettled(domains.map((domain) => this.issuing.requireRenewable(domain)));
    const [first] = results;
    if (first?.status === 'rejected' && results.every(({ status }) => status === 'rejected'))
      throw first.reason;
  }

  /** The present certificate of a domain, without its key, for the answer and the audit line of a change. */
  async #former(domain: string): Promise<CertificateDto | undefined> {
    const before = await this.views.former(domain).catch(() => undefined);
    recordFormer(before);
    return before;
  }
}

/** The job that `start` starts. Calls `release` when the job has ended, or if it could not be started. */
async function releasedAtEnd<T extends object>(
  release: () => void,
  start: () => Promise<RunningJob<T>>,
): Promise<RunningJob<T>> {
  try {
    const job = await start();
    void job.ended().then(release);
    return job;
  } catch (error) {
    release();
    throw error;
  }
}
