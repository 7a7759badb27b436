import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { MetricsController } from './metrics.controller.js';
import { MetricsService } from './metrics.service.js';
import { MonitoringController } from './monitoring.controller.js';
import { MonitoringService } from './monitoring.service.js';
import { StatsService } from './stats.service.js';

@Module({
  imports: [HaproxyModule, ReconcilerModule],
  controllers: [MonitoringController, MetricsController],
  providers: [StatsService, MonitoringService, MetricsService],
})
export class MonitoringModule {}
