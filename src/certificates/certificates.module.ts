import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { SyncModule } from '../sync/sync.module.js';
import { AcmeService } from './acme/acme.service.js';
import { CertificateInstaller } from './certificate-installer.service.js';
import { CertificatePlans } from './certificate-plans.service.js';
import { CertificateScope } from './certificate-scope.service.js';
import { CertificateViews } from './certificate-views.service.js';
import { CertificatesController } from './certificates.controller.js';
import { CertificatesLifecycle } from './certificates.lifecycle.js';
import { CertificatesService } from './certificates.service.js';
import { IssuingService } from './issuing.service.js';
import { ManagedCertificates } from './managed-certificates.js';
import { RenewalService } from './renewal.service.js';
import { StoredCertificates } from './stored-certificates.service.js';

@Module({
  imports: [HaproxyModule, JobsModule, SyncModule],
  controllers: [CertificatesController],
  providers: [
    AcmeService,
    CertificateInstaller,
    CertificatePlans,
    CertificateScope,
    CertificateViews,
    CertificatesLifecycle,
    CertificatesService,
    IssuingService,
    ManagedCertificates,
    RenewalService,
    StoredCertificates,
  ],
  exports: [CertificateViews, CertificatesService, CertificatesLifecycle],
})
export class CertificatesModule {}
