import { Module } from '@nestjs/common';
import { AccessModule } from '../access/access.module.js';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { CertificatesModule } from '../certificates/certificates.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { MonitoringModule } from '../monitoring/monitoring.module.js';
import { SyncModule } from '../sync/sync.module.js';
import { HealthController } from './health.controller.js';
import { HealthService } from './health.service.js';
import { ProbesController } from './probes.controller.js';
import { ServerHealthService } from './server-health.service.js';
import { WaitHealthyService } from './wait-healthy.service.js';

@Module({
  imports: [
    AccessModule,
    HaproxyModule,
    JobsModule,
    ReconcilerModule,
    SyncModule,
    CertificatesModule,
    MonitoringModule,
  ],
  controllers: [ProbesController, HealthController],
  providers: [HealthService, ServerHealthService, WaitHealthyService],
})
export class HealthModule {}
