import { Injectable, Logger } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { covers } from '../haproxy/certificates/certificate-facts.js';
import { type CertificateFile, CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import type { JobContext } from '../jobs/running-job.js';
import { metrics } from '../lib/metrics.js';
import { Settings } from '../settings/settings.js';
import { AcmeError } from './acme/acme-errors.js';
import { AcmeService } from './acme/acme.service.js';
import { challengeFor, type WantedChallenge } from './acme/challenge.js';
import { CertificateInstaller, type Precedence } from './certificate-installer.service.js';
import { type ManagedCertificate, ManagedCertificates, NEVER_ATTEMPTED } from './managed-certificates.js';
import { isDue, isDueBySchedule, nextAttempt } from './renewal-rules.js';

/** What a caller asks for. */
interface Wanted {
  domain: string;
  wildcard: boolean;
  challenge: WantedChallenge;
}

/** What the record says about requests to the CA. */
export function requestOf({ wildcard, challenge }: ManagedCertificate): Omit<Wanted, 'domain'> {
  return { wildcard, challenge: challenge ?? 'auto' };
}

/** What an issue or a renewal did. */
export interface IssueResult {
  /** Whether the CA issued a new certificate. */
  renewed: boolean;
  precedence: Precedence;
}

const UNCHANGED: IssueResult = { renewed: false, precedence: { rivals: [], warnings: [] } };

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
   * Gets and installs a certificate. If there is a valid certificate (`findValid`), loads that one.
   *
   * @throws AppError acme_failed, acme_timeout, haproxy_rejected, haproxy_unavailable, storage_failed
   */
  issue({ domain, wildcard, challenge }: Wanted, job: JobContext): Promise<IssueResult> {
    return this.installer.exclusively(domain, async () => {
      const file = await this.findValid(domain, wildcard);
      if (file) {
        const rivals = await this.installer.rivals(file.path, file.leaf);
        const choose = () => Promise.resolve(this.installer.choiceOf(file.path, rivals));
        const loaded = await this.managed.choose(choose, () => this.installer.load(file.path, rivals));
        return { ...UNCHANGED, ...(loaded && { precedence: loaded.precedence }) };
      }
      const wanted = this.wanted({ domain, wildcard, challenge });
      return {
        renewed: true,
        precedence: await metrics.certificate(this.#obtain(domain, wanted, false, job)),
      };
    });
  }

  /** The record for a request: an earlier wildcard and an earlier choice of the challenge stay. */
  wanted({ domain, wildcard, challenge }: Wanted): ManagedCertificate {
    const { challenge: kept, ...entry } = this.managed.get(domain) ?? NEVER_ATTEMPTED;
    // A wildcard that is asked for now counts more than a challenge that was asked for earlier.
    const chosen = challenge !== 'auto' ? challenge : wildcard && kept === 'http-01' ? undefined : kept;
    return { ...entry, wildcard: wildcard || entry.wildcard, ...(chosen && { challenge: chosen }) };
  }

  /**
   * Renews a managed certificate. If it is not due and `force` is false, changes nothing.
   *
   * @throws AppError certificate_not_found, validation_failed (not managed), acme_failed, acme_timeout,
   * haproxy_rejected, haproxy_unavailable, storage_failed
   */
  renew(domain: string, force: boolean, job: JobContext): Promise<IssueResult> {
    return this.installer.exclusively(domain, async () => {
      const entry = await this.requireManaged(domain);
      if (!force && !(await this.isDue(domain))) return UNCHANGED;
      // Forces acme.sh, whose own record may say that the certificate is not due.
      return { renewed: true, precedence: await metrics.certificate(this.#obtain(domain, entry, true, job)) };
    });
  }

  /**
   * Checks that a request can begin; with a valid certificate (`findValid`), nothing is requested.
   *
   * @throws AppError acme_failed, validation_failed (a wildcard with http-01)
   */
  async requireReady({ domain, wildcard, challenge }: Wanted): Promise<void> {
    const request = { domain, ...requestOf(this.wanted({ domain, wildcard, challenge })) };
    challengeFor(request, this.settings.acme);
    if (!(await this.findValid(domain, wildcard))) await this.acme.requireReady(request);
  }

  /** @throws AppError acme_failed, certificate_not_found, validation_failed */
  async requireRenewable(domain: string): Promise<void> {
    await this.acme.requireReady({ domain, ...requestOf(await this.requireManaged(domain)) });
  }

  /** The managed certificate that covers the names and is not due. `issue` keeps it. */
  async findValid(domain: string, wildcard: boolean): Promise<CertificateFile | undefined> {
    const file = await this.#fileOf(domain);
    const isValid =
      file !== undefined &&
      this.managed.get(domain) !== undefined &&
      covers(file.leaf, wildcard ? [domain, `*.${domain}`] : [domain]) &&
      !isDue(file.leaf, this.settings.acme.renewDays);
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
        '{haproxy_load_cert}, or let the suite issue and renew one with {haproxy_issue_cert}.',
    );
  }

  /** Whether the certificate is due (renewal-rules.ts) or its file is missing. */
  async isDue(domain: string): Promise<boolean> {
    const file = await this.#fileOf(domain);
    return !file || isDue(file.leaf, this.settings.acme.renewDays);
  }

  /** Whether scheduled renewal renews the certificate now: it is due, and no failure makes it wait. */
  async isScheduled(domain: string, now = Date.now()): Promise<boolean> {
    const entry = this.managed.get(domain);
    if (!entry) return false;
    const { renewDays } = this.settings.acme;
    const leaf = (await this.#fileOf(domain))?.leaf;
    if (leaf && !isDueBySchedule(leaf, renewDays, now)) return false;
    if (entry.last_attempt === null) return true;
    const failed = {
      failures: entry.failures,
      lastAttempt: Date.parse(entry.last_attempt),
      retryAt: entry.last_error?.retry_at === undefined ? undefined : Date.parse(entry.last_error.retry_at),
    };
    return now >= nextAttempt(failed, leaf, renewDays, now);
  }

  async #obtain(
    domain: string,
    entry: ManagedCertificate,
    force: boolean,
    job: JobContext,
  ): Promise<Precedence> {
    const before = this.managed.get(domain);
    const last_attempt = new Date().toISOString();
    const path = this.folder.pathOf(domain);
    try {
      // Checked first, because a certificate that HAProxy cannot serve still counts against the rate limit of the CA.
      await this.installer.check();
      const request = { domain, ...requestOf(entry), force };
      const precedence = await this.acme.issue(request, job, async (bundle) => {
        job.progress('Installing the certificate in HAProxy');
        const rivals = await this.installer.rivals(path, bundle.leaf);
        // The record comes first: if the suite is killed before it writes the file, the next renewal gets a certificate.
        const record = { ...entry, failures: 0, last_attempt, last_error: null };
        const choose = () => Promise.resolve(this.installer.choiceOf(path, rivals));
        await this.managed.set(domain, record, undefined, choose);
        return this.installer.install(path, bundle, rivals);
      });
      this.#logger.log(`HAProxy has a new certificate for ${domain}`);
      return precedence;
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
    const retryAt = error instanceof AcmeError ? error.retryAt : undefined;
    const retry = retryAt === undefined ? {} : { retry_at: new Date(retryAt).toISOString() };
    // A cancelled request does not count as a failure.
    const entry =
      before && !job.signal.aborted
        ? { ...before, failures: before.failures + 1, last_attempt, last_error: { code, detail, ...retry } }
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
