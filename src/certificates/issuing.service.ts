import { Injectable, Logger } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { metrics } from '../lib/metrics.js';
import { Settings } from '../settings/settings.js';
import { AcmeService, type Work } from './acme.service.js';
import { covers, factsOf } from '../haproxy/certificates/certificate-facts.js';
import { type CertificateFile, CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { CertificateLocks } from './certificate-locks.js';
import { DeployService } from './deploy.service.js';
import { type ManagedCertificate, ManagedCertificates, NEW_MANAGED } from './managed-certificates.js';

const HOUR_MS = 60 * 60 * 1000;
const LONGEST_PAUSE_HOURS = 96;
/** This near its end a certificate is tried for more often than any back-off would allow. */
const URGENT_DAYS = 7;
const URGENT_PAUSE_HOURS = 12;

/** From a domain to a certificate that HAProxy serves and that is kept renewed. */
@Injectable()
export class IssuingService {
  readonly #logger = new Logger('Certificates');

  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly deploy: DeployService,
    private readonly acme: AcmeService,
    private readonly locks: CertificateLocks,
    private readonly settings: Settings,
  ) {}

  /**
   * Gets a certificate unless there is one of the suite's that covers the names and is not due. False for that.
   *
   * @throws AppError acme_failed, acme_timeout, haproxy_rejected, haproxy_unavailable, storage_failed
   */
  issue(domain: string, wildcard: boolean, work: Work): Promise<boolean> {
    return this.locks.run(domain, async () => {
      const known = this.managed.get(domain);
      const file = await this.good(domain, wildcard);
      if (file) {
        await this.deploy.load(file.path);
        return false;
      }
      await metrics.certificate(
        this.#obtain(
          domain,
          { ...(known ?? NEW_MANAGED), wildcard: wildcard || (known?.wildcard ?? false) },
          false,
          work,
        ),
      );
      return true;
    });
  }

  /**
   * Renews a managed certificate if it is due or forced; false where it is not due.
   *
   * @throws AppError certificate_not_found, validation_failed for one that is not managed; what `issue` throws
   */
  renew(domain: string, force: boolean, work: Work): Promise<boolean> {
    return this.locks.run(domain, async () => {
      const known = await this.requireManaged(domain);
      if (!force && !(await this.isDue(domain))) return false;
      // One that is asked for again although it is good must be another one; one that is due is one for acme.sh too.
      await metrics.certificate(this.#obtain(domain, known, true, work));
      return true;
    });
  }

  /** The certificate that `issue` would leave as it is; undefined where it would get another. */
  async good(domain: string, wildcard: boolean): Promise<CertificateFile | undefined> {
    const file = await this.#fileOf(domain);
    const isGood =
      file !== undefined &&
      this.managed.get(domain) !== undefined &&
      covers(file.leaf, wildcard ? [domain, `*.${domain}`] : [domain]) &&
      this.#daysLeft(file) >= this.settings.acme.renewDays;
    return isGood ? file : undefined;
  }

  /** @throws AppError certificate_not_found, validation_failed for one that the suite does not renew */
  async requireManaged(domain: string): Promise<ManagedCertificate> {
    const known = this.managed.get(domain);
    if (known) return known;
    const { path } = await this.folder.require(domain);
    throw new AppError(
      'validation_failed',
      `${path} was not issued by the suite, so it cannot renew it. Load its successor with haproxy_load_cert, or ` +
        'have one issued and renewed with haproxy_issue_cert.',
    );
  }

  /** Less than ACME_RENEW_DAYS left, or no file any more. */
  async isDue(domain: string): Promise<boolean> {
    const file = await this.#fileOf(domain);
    return !file || this.#daysLeft(file) < this.settings.acme.renewDays;
  }

  /** Whether a certificate that failed before is to be left alone for now: an hour, then two, four, … four days. */
  async isPutOff(domain: string, now = Date.now()): Promise<boolean> {
    const known = this.managed.get(domain);
    if (!known || known.failures === 0 || known.last_attempt === null) return false;
    const file = await this.#fileOf(domain);
    const longest = file && this.#daysLeft(file) > URGENT_DAYS ? LONGEST_PAUSE_HOURS : URGENT_PAUSE_HOURS;
    const hours = Math.min(2 ** (known.failures - 1), longest);
    return now < Date.parse(known.last_attempt) + hours * HOUR_MS;
  }

  async #obtain(domain: string, entry: ManagedCertificate, force: boolean, work: Work): Promise<void> {
    const before = this.managed.get(domain);
    const last_attempt = new Date().toISOString();
    try {
      // A certificate that could not be served would only use up what the CA allows.
      await this.deploy.check();
      await this.acme.issue({ domain, wildcard: entry.wildcard, force }, work, async (bundle) => {
        work.progress('handing the certificate to HAProxy');
        // First the promise to renew it: killed in between, the suite gets the certificate at the next renewal.
        await this.managed.set(domain, { ...entry, failures: 0, last_attempt, last_error: null });
        await this.deploy.put(this.folder.pathOf(domain), bundle);
      });
      this.#logger.log(`${domain}: a new certificate is served`);
    } catch (error) {
      await this.#failed(domain, before, last_attempt, error, work);
      throw error;
    }
  }

  async #failed(
    domain: string,
    before: ManagedCertificate | undefined,
    last_attempt: string,
    error: unknown,
    work: Work,
  ): Promise<void> {
    const { code, detail } =
      error instanceof AppError
        ? error
        : { code: 'internal_error', detail: 'a fault of the suite; see its log' };
    this.#logger.error(`${domain}: ${code}: ${detail}`);
    // What the caller gave up is no failure of the certificate.
    const entry =
      before && !work.signal.aborted
        ? { ...before, failures: before.failures + 1, last_attempt, last_error: { code, detail } }
        : before;
    await this.managed.set(domain, entry).catch((failure: unknown) => {
      this.#logger.error(`${domain}: the failure could not be noted: ${String(failure)}`);
    });
  }

  async #fileOf(domain: string) {
    const file = await this.folder.find(domain);
    return file?.path === this.folder.pathOf(domain) ? file : undefined;
  }

  #daysLeft({ leaf }: { leaf: Parameters<typeof factsOf>[0] }): number {
    return factsOf(leaf).days_left;
  }
}
