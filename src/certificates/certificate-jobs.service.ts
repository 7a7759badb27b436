import { Injectable } from '@nestjs/common';
import { CertificateViews } from './certificate-views.service.js';
import type {
  IssueCertificateDto,
  IssuedCertificateDto,
  RenewAllDto,
  RenewCertificateDto,
} from './certificates.dto.js';
import { IssuingService } from './issuing.service.js';
import { JobsService, type RunningJob } from '../jobs/jobs.service.js';
import { RenewalService } from './renewal.service.js';

/** What takes a CA's time, as operations: begun here, waited for by tools and by REST with `?wait=true`. */
@Injectable()
export class CertificateJobs {
  constructor(
    private readonly operations: JobsService,
    private readonly issuing: IssuingService,
    private readonly renewal: RenewalService,
    private readonly views: CertificateViews,
  ) {}

  issue({ domain, wildcard }: IssueCertificateDto): RunningJob<IssuedCertificateDto> {
    return this.operations.start(
      { kind: 'issue_cert', key: `${domain} ${wildcard}`, domain, given: { domain, wildcard } },
      async (work) => {
        const renewed = await this.issuing.issue(domain, wildcard, work);
        return { ...(await this.views.one(domain)), renewed };
      },
    );
  }

  renew({ domain, force }: RenewCertificateDto): RunningJob<IssuedCertificateDto> {
    return this.operations.start(
      { kind: 'renew_cert', key: `${domain} ${force}`, domain, given: { domain, force } },
      async (work) => {
        const renewed = await this.issuing.renew(domain, force, work);
        return { ...(await this.views.one(domain)), renewed };
      },
    );
  }

  renewAll(): RunningJob<RenewAllDto> {
    return this.operations.start({ kind: 'renew_all_certs', key: '' }, (work) =>
      this.renewal.renewDue(work, false),
    );
  }
}
