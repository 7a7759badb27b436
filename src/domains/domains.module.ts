import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { DomainsController } from './domains.controller.js';
import { DomainsService } from './domains.service.js';
import { RoutingOverviewService } from './routing-overview.service.js';

@Module({
  imports: [HaproxyModule, ReconcilerModule],
  controllers: [DomainsController],
  providers: [DomainsService, RoutingOverviewService],
})
export class DomainsModule {}
