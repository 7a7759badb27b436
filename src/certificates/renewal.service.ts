import { Injectable, Logger } from '@nestjs/common';
import { LazyModuleLoader } from '@nestjs/core';
import type { SchedulerRegistry } from '@nestjs/schedule';
import type { CronJob } from 'cron';
import { AppError, messageOf } from '../errors/app-error.js';
import { JobsService } from '../jobs/jobs.service.js';
import type { JobContext } from '../jobs/running-job.js';
import { SettingsError } from '../settings/parse.js';
import { Readiness } from '../signals/readiness.js';
import { Settings } from '../settings/settings.js';
import type { RenewAllDto } from './certificates.dto.js';
import { IssuingService } from './issuing.service.js';
import { ManagedCertificates } from './managed-certificates.js';

const CRON_JOB = 'renew-certificates';

/** How often the look at start asks whether HAProxy has the saved state. */
const READY_POLL_MS = 500;

/**
 * Renews all due certificates, one after another: at start and every hour, or by CERT_RENEW_CRON, or on request.
 */
@Injectable()
export class RenewalService {
  readonly #logger = new Logger('Certificates');
  #isRunning = false;
  #scheduler: SchedulerRegistry | undefined;
  #startTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly managed: ManagedCertificates,
    private readonly issuing: IssuingService,
    private readonly jobs: JobsService,
    private readonly lazy: LazyModuleLoader,
    private readonly readiness: Readiness,
  ) {}

  /** @throws SettingsError if CERT_RENEW_CRON is not a cron expression */
  async schedule(): Promise<void> {
    const cron = this.settings.renewCron ?? (await this.#hourlyCron());
    // Imported here, while HAProxy starts, because the import takes time.
    const [{ CronJob: Job }, { ScheduleModule, SchedulerRegistry: Registry }] = await Promise.all([
      import('cron'),
      import('@nestjs/schedule'),
    ]);
    let job: CronJob;
    try {
      job = new Job(cron, () => void this.#renewScheduled());
    } catch {
      throw new SettingsError('CERT_RENEW_CRON', cron, 'a cron expression such as "17 4 * * *"');
    }
    const scheduler = (await this.lazy.load(() => ScheduleModule.forRoot(), { logger: false })).get(Registry);
    this.#scheduler = scheduler;
    scheduler.addCronJob(CRON_JOB, job);
    job.start();
    this.#logger.log(`Scheduled renewal runs at "${cron}", next at ${job.nextDate().toISO()}`);
    if (this.settings.renewCron === undefined) this.#renewWhenReady();
  }

  unschedule(): void {
    clearInterval(this.#startTimer);
    if (this.#scheduler?.doesExist('cron', CRON_JOB)) this.#scheduler.deleteCronJob(CRON_JOB);
  }

  /**
   * Renews all due certificates. A failure is in the result and does not stop the others. With `scheduled`, certificates
   * wait after a failure, and their due dates are spread.
   */
  async renewDue(job: JobContext, { scheduled }: { scheduled: boolean }): Promise<RenewAllDto> {
    const report: RenewAllDto = { renewed: [], skipped: [], failed: [] };
    for (const domain of this.managed.domains()) {
      if (job.signal.aborted) break;
      try {
        const isSkipped = scheduled && !(await this.issuing.isScheduled(domain));
        job.progress(isSkipped ? `Skipping ${domain}` : `Checking ${domain}`);
        const isRenewed = !isSkipped && (await this.issuing.renew(domain, false, job)).renewed;
        (isRenewed ? report.renewed : report.skipped).push(domain);
      } catch (error) {
        report.failed.push(failedRenewal(domain, error));
      }
    }
    return report;
  }

  /** The domains whose certificates are due now. */
  async due(): Promise<string[]> {
    const due: string[] = [];
    for (const domain of this.managed.domains()) if (await this.issuing.isDue(domain)) due.push(domain);
    return due;
  }

  /** Every hour at the minute that `certificates.json` keeps. */
  async #hourlyCron(): Promise<string> {
    return `${(await this.managed.renewalMinute()) % 60} * * * *`;
  }

  /** A certificate that became due while the suite was stopped does not wait for the next hour. */
  #renewWhenReady(): void {
    this.#startTimer = setInterval(() => {
      if (!this.readiness.get().ready) return;
      clearInterval(this.#startTimer);
      void this.#renewScheduled();
    }, READY_POLL_MS).unref();
  }

  async #isAnyScheduled(): Promise<boolean> {
    for (const domain of this.managed.domains()) if (await this.issuing.isScheduled(domain)) return true;
    return false;
  }

  /** Does nothing while the previous scheduled renewal runs. */
  async #renewScheduled(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      // Most looks find nothing to do. They leave no job and no line in the logs.
      if (!(await this.#isAnyScheduled())) return;
      const running = this.jobs.start({ kind: 'renew_scheduled', key: '' }, (job) =>
        this.renewDue(job, { scheduled: true }),
      );
      const { renewed, skipped, failed } = await running.wait();
      this.#logger.log(
        `Scheduled renewal: ${renewed.length} renewed, ${skipped.length} not due or backed off, ${failed.length} failed` +
          (failed.length > 0 ? ` (${failed.map(({ domain }) => domain).join(', ')})` : ''),
      );
    } catch (error) {
      this.#logger.error(`Scheduled renewal failed: ${messageOf(error)}`);
    } finally {
      this.#isRunning = false;
    }
  }
}

/** A failed renewal in the result of "renew all". */
export function failedRenewal(domain: string, error: unknown): RenewAllDto['failed'][number] {
  const { code, detail } =
    error instanceof AppError ? error : { code: 'internal_error', detail: messageOf(error) };
  return { domain, code, detail };
}
