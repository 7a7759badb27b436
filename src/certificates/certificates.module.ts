import { Global, Module } from '@nestjs/common';
import { CertificateSummary } from '../common/certificate-summary.js';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { AcmeService } from './acme.service.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { CertificateLocks } from './certificate-locks.js';
import { CertificateStates } from './certificate-states.js';
import { CertificatePlans } from './certificate-plans.service.js';
import { CertificateViews } from './certificate-views.service.js';
import { CertificatesController } from './certificates.controller.js';
import { CertificatesLifecycle } from './certificates.lifecycle.js';
import { CertificatesService } from './certificates.service.js';
import { DeployService } from './deploy.service.js';
import { IssuingService } from './issuing.service.js';
import { LargeCertificates } from './large-certificates.service.js';
import { CertificateJobs } from './certificate-jobs.service.js';
import { ManagedCertificates } from './managed-certificates.js';
import { RenewalService } from './renewal.service.js';
import { StoredCertificates } from './stored-certificates.service.js';

@Global()
@Module({
  imports: [HaproxyModule, JobsModule, ReconcilerModule],
  controllers: [CertificatesController],
  providers: [
    { provide: CertificateSummary, useClass: CertificateStates },
    AcmeService,
    CertificateFolder,
    CertificateLocks,
    CertificatePlans,
    CertificateViews,
    CertificatesLifecycle,
    CertificatesService,
    DeployService,
    IssuingService,
    LargeCertificates,
    CertificateJobs,
    ManagedCertificates,
    RenewalService,
    StoredCertificates,
  ],
  exports: [CertificateSummary, CertificatesService, CertificatesLifecycle, RenewalService],
})
export class CertificatesModule {}
