import { Injectable, Logger } from '@nestjs/common';
import { LazyModuleLoader } from '@nestjs/core';
import type { SchedulerRegistry } from '@nestjs/schedule';
import type { CronJob } from 'cron';
import { AppError, messageOf } from '../errors/app-error.js';
import { type JobContext, JobsService } from '../jobs/jobs.service.js';
import { SettingsError } from '../settings/parse.js';
import { Settings } from '../settings/settings.js';
import type { RenewAllDto } from './certificates.dto.js';
import { IssuingService } from './issuing.service.js';
import { ManagedCertificates } from './managed-certificates.js';

const CRON_JOB = 'renew-certificates';

/** Renews all due certificates, one after another: once a day, by CERT_RENEW_CRON, or on request. */
@Injectable()
export class RenewalService {
  readonly #logger = new Logger('Certificates');
  #isRunning = false;
  #scheduler: SchedulerRegistry | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly managed: ManagedCertificates,
    private readonly issuing: IssuingService,
    private readonly jobs: JobsService,
    private readonly lazy: LazyModuleLoader,
  ) {}

  /** @throws SettingsError if CERT_RENEW_CRON is not a cron expression */
  async schedule(): Promise<void> {
    const cron = this.settings.renewCron ?? (await this.#dailyCron());
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
  }

  unschedule(): void {
    if (this.#scheduler?.doesExist('cron', CRON_JOB)) this.#scheduler.deleteCronJob(CRON_JOB);
  }

  /**
   * Renews all due certificates. A failure is in the result and does not stop the others. `backOff` skips
   * certificates whose renewal failed recently.
   */
  async renewDue(job: JobContext, { backOff }: { backOff: boolean }): Promise<RenewAllDto> {
    const report: RenewAllDto = { renewed: [], skipped: [], failed: [] };
    for (const domain of this.managed.domains()) {
      if (job.signal.aborted) break;
      try {
        const isBackedOff = backOff && (await this.issuing.isBackedOff(domain));
        job.progress(isBackedOff ? `Skipping ${domain} after its last failure` : `Checking ${domain}`);
        if (!isBackedOff && (await this.issuing.renew(domain, false, job))) report.renewed.push(domain);
        else report.skipped.push(domain);
      } catch (error) {
        report.failed.push(failedRenewal(domain, error));
      }
    }
    return report;
  }

  /** Once a day at the minute that `certificates.json` keeps. */
  async #dailyCron(): Promise<string> {
    const minute = await this.managed.renewalMinute();
    return `${minute % 60} ${Math.floor(minute / 60)} * * *`;
  }

  /** Does nothing while the previous scheduled renewal runs. */
  async #renewScheduled(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      const running = this.jobs.start({ kind: 'renew_scheduled', key: '' }, (job) =>
        this.renewDue(job, { backOff: true }),
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
