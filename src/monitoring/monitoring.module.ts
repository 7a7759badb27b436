import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { CertificatesModule } from '../certificates/certificates.module.js';
import { SyncModule } from '../sync/sync.module.js';
import { MetricsController } from './metrics.controller.js';
import { MetricsService } from './metrics.service.js';
import { MonitoringController } from './monitoring.controller.js';
import { MonitoringService } from './monitoring.service.js';
import { SitesService } from './sites.service.js';
import { StatsService } from './stats.service.js';

@Module({
  imports: [HaproxyModule, SyncModule, CertificatesModule],
  controllers: [MonitoringController, MetricsController],
  providers: [StatsService, MonitoringService, MetricsService, SitesService],
  exports: [SitesService],
})
export class MonitoringModule {}
