import { Injectable, Logger } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { covers, factsOf } from '../haproxy/certificates/certificate-facts.js';
import { type CertificateFile, CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import type { JobContext } from '../jobs/jobs.service.js';
import { metrics } from '../lib/metrics.js';
import { Settings } from '../settings/settings.js';
import { AcmeService } from './acme/acme.service.js';
import { CertificateInstaller } from './certificate-installer.service.js';
import { type ManagedCertificate, ManagedCertificates, NEVER_ATTEMPTED } from './managed-certificates.js';

const HOUR_MS = 60 * 60 * 1000;
const MAX_BACKOFF_HOURS = 96;
/** With this many days left or fewer, the back-off is shorter. */
const URGENT_DAYS = 7;
const MAX_URGENT_BACKOFF_HOURS = 12;

/** Issues and renews certificates: gets them from the CA, installs them, and keeps the record of the attempts. */
@Injectable()
export class IssuingService {
  readonly #logger = new Logger('Certificates');

  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly installer: CertificateInstaller,
    private readonly acme: AcmeService,
    private readonly settings: Settings,
  ) {}

  /**
   * Gets and installs a certificate, and returns true. If there is a valid certificate (`findValid`), loads it and
   * returns false.
   *
   * @throws AppError acme_failed, acme_timeout, haproxy_rejected, haproxy_unavailable, storage_failed
   */
  issue(domain: string, wildcard: boolean, job: JobContext): Promise<boolean> {
    return this.installer.exclusively(domain, async () => {
      const entry = this.managed.get(domain) ?? NEVER_ATTEMPTED;
      const file = await this.findValid(domain, wildcard);
      if (file) {
        await this.installer.load(file.path);
        return false;
      }
      const wanted = { ...entry, wildcard: wildcard || entry.wildcard };
      await metrics.certificate(this.#obtain(domain, wanted, false, job));
      return true;
    });
  }

  /**
   * Renews a managed certificate and returns true. If it is not due and `force` is false, changes nothing and returns
   * false.
   *
   * @throws AppError certificate_not_found, validation_failed (not managed), acme_failed, acme_timeout,
   * haproxy_rejected, haproxy_unavailable, storage_failed
   */
  renew(domain: string, force: boolean, job: JobContext): Promise<boolean> {
    return this.installer.exclusively(domain, async () => {
      const entry = await this.requireManaged(domain);
      if (!force && !(await this.isDue(domain))) return false;
      // Forces acme.sh, whose own record may say that the certificate is not due.
      await metrics.certificate(this.#obtain(domain, entry, true, job));
      return true;
    });
  }

  /** The managed certificate that covers the names and is not due. `issue` keeps it. */
  async findValid(domain: string, wildcard: boolean): Promise<CertificateFile | undefined> {
    const file = await this.#fileOf(domain);
    const isValid =
      file !== undefined &&
      this.managed.get(domain) !== undefined &&
      covers(file.leaf, wildcard ? [domain, `*.${domain}`] : [domain]) &&
      daysLeft(file) >= this.settings.acme.renewDays;
    return isValid ? file : undefined;
  }

  /** @throws AppError certificate_not_found, validation_failed (the suite does not renew the certificate) */
  async requireManaged(domain: string): Promise<ManagedCertificate> {
    const entry = this.managed.get(domain);
    if (entry) return entry;
    const { path } = await this.folder.require(domain);
    throw new AppError(
      'validation_failed',
      `The suite cannot renew ${path}, because it was not issued by the suite. Load a new certificate with ` +
        'haproxy_load_cert, or let the suite issue and renew one with haproxy_issue_cert.',
    );
  }

  /** Whether the certificate has fewer than ACME_RENEW_DAYS left or its file is missing. */
  async isDue(domain: string): Promise<boolean> {
    const file = await this.#fileOf(domain);
    return !file || daysLeft(file) < this.settings.acme.renewDays;
  }

  /**
   * Whether scheduled renewal skips the domain after failures (exponential back-off): for 1, 2, 4 … 96 hours, and for at
   * most 12 hours in the last week.
   */
  async isBackedOff(domain: string, now = Date.now()): Promise<boolean> {
    const entry = this.managed.get(domain);
    if (!entry || entry.failures === 0 || entry.last_attempt === null) return false;
    const file = await this.#fileOf(domain);
    const limit = file && daysLeft(file) > URGENT_DAYS ? MAX_BACKOFF_HOURS : MAX_URGENT_BACKOFF_HOURS;
    const hours = Math.min(2 ** (entry.failures - 1), limit);
    return now < Date.parse(entry.last_attempt) + hours * HOUR_MS;
  }

  async #obtain(domain: string, entry: ManagedCertificate, force: boolean, job: JobContext): Promise<void> {
    const before = this.managed.get(domain);
    const last_attempt = new Date().toISOString();
    try {
      // Checked first, because a certificate that HAProxy cannot serve still counts against the rate limit of the CA.
      await this.installer.check();
      await this.acme.issue({ domain, wildcard: entry.wildcard, force }, job, async (bundle) => {
        job.progress('Installing the certificate in HAProxy');
        // The record comes first: if the suite is killed before it writes the file, the next renewal gets a certificate.
        await this.managed.set(domain, { ...entry, failures: 0, last_attempt, last_error: null });
        await this.installer.install(this.folder.pathOf(domain), bundle);
      });
      this.#logger.log(`HAProxy serves a new certificate for ${domain}`);
    } catch (error) {
      await this.#recordFailure(domain, before, last_attempt, error, job);
      throw error;
    }
  }

  async #recordFailure(
    domain: string,
    before: ManagedCertificate | undefined,
    last_attempt: string,
    error: unknown,
    job: JobContext,
  ): Promise<void> {
    const { code, detail } =
      error instanceof AppError
        ? error
        : { code: 'internal_error', detail: 'An internal error of the suite. See its log.' };
    this.#logger.error(`The certificate for ${domain} was not issued: ${code}: ${detail}`);
    // A cancelled request does not count as a failure.
    const entry =
      before && !job.signal.aborted
        ? { ...before, failures: before.failures + 1, last_attempt, last_error: { code, detail } }
        : before;
    await this.managed.set(domain, entry).catch((failure: unknown) => {
      this.#logger.error(`The failed attempt for ${domain} could not be recorded: ${String(failure)}`);
    });
  }

  /** The file that this suite writes for the domain. Another file for the same domain does not count. */
  async #fileOf(domain: string): Promise<CertificateFile | undefined> {
    const file = await this.folder.find(domain);
    return file?.path === this.folder.pathOf(domain) ? file : undefined;
  }
}

function daysLeft({ leaf }: CertificateFile): number {
  return factsOf(leaf).days_left;
}
