import { Injectable, Logger } from '@nestjs/common';
import { LazyModuleLoader } from '@nestjs/core';
import type { SchedulerRegistry } from '@nestjs/schedule';
import type { CronJob } from 'cron';
import { AppError, messageOf } from '../errors/app-error.js';
import { SettingsError } from '../settings/parse.js';
import { Settings } from '../settings/settings.js';
import type { Work } from './acme.service.js';
import type { RenewAllDto } from './certificates.dto.js';
import { IssuingService } from './issuing.service.js';
import { ManagedCertificates } from './managed-certificates.js';
import { JobsService } from '../jobs/jobs.service.js';

const JOB = 'renew-certificates';

/** Renews what is due, one after another: at the minute of the day that was drawn for this installation, or when asked. */
@Injectable()
export class RenewalService {
  readonly #logger = new Logger('Certificates');
  #isRunning = false;
  #scheduler: SchedulerRegistry | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly managed: ManagedCertificates,
    private readonly issuing: IssuingService,
    private readonly operations: JobsService,
    private readonly lazy: LazyModuleLoader,
  ) {}

  /** @throws SettingsError for a CERT_RENEW_CRON that is no cron expression */
  async schedule(): Promise<void> {
    const cron = this.settings.renewCron ?? (await this.#daily());
    // Loaded only here: it takes its time, and HAProxy is starting meanwhile.
    const [{ CronJob: Job }, { ScheduleModule, SchedulerRegistry: Registry }] = await Promise.all([
      import('cron'),
      import('@nestjs/schedule'),
    ]);
    let job: CronJob;
    try {
      job = new Job(cron, () => void this.#scheduled());
    } catch {
      throw new SettingsError('CERT_RENEW_CRON', cron, 'a cron expression such as "17 4 * * *"');
    }
    const scheduler = (await this.lazy.load(() => ScheduleModule.forRoot(), { logger: false })).get(Registry);
    this.#scheduler = scheduler;
    scheduler.addCronJob(JOB, job);
    job.start();
    this.#logger.log(`certificates are renewed by "${cron}", next at ${job.nextDate().toISO()}`);
  }

  unschedule(): void {
    if (this.#scheduler?.doesExist('cron', JOB)) this.#scheduler.deleteCronJob(JOB);
  }

  /** All that are due. `patient` leaves those alone that failed a short while ago. */
  async renewDue(work: Work, patient: boolean): Promise<RenewAllDto> {
    const report: RenewAllDto = { renewed: [], skipped: [], failed: [] };
    for (const domain of this.managed.domains()) {
      if (work.signal.aborted) break;
      try {
        const isLeft = patient && (await this.issuing.isPutOff(domain));
        work.progress(isLeft ? `${domain} is left alone after failures` : `looking at ${domain}`);
        if (!isLeft && (await this.issuing.renew(domain, false, work))) {
          report.renewed.push(domain);
        } else report.skipped.push(domain);
      } catch (error) {
        const { code, detail } =
          error instanceof AppError ? error : { code: 'internal_error', detail: messageOf(error) };
        report.failed.push({ domain, code, detail });
      }
    }
    return report;
  }

  async #daily(): Promise<string> {
    const minute = await this.managed.minuteOfDay();
    return `${minute % 60} ${Math.floor(minute / 60)} * * *`;
  }

  /** One that takes longer than until the next is due is not joined by it. */
  async #scheduled(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      const running = this.operations.start({ kind: 'renew_scheduled', key: '' }, (work) =>
        this.renewDue(work, true),
      );
      const { renewed, skipped, failed } = await running.wait();
      this.#logger.log(
        `scheduled renewal: ${renewed.length} renewed, ${skipped.length} not due or put off, ${failed.length} failed` +
          (failed.length > 0 ? ` (${failed.map(({ domain }) => domain).join(', ')})` : ''),
      );
    } catch (error) {
      this.#logger.error(`scheduled renewal: ${messageOf(error)}`);
    } finally {
      this.#isRunning = false;
    }
  }
}
