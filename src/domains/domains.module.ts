import { Module } from '@nestjs/common';
import { DomainsController } from './domains.controller.js';
import { DomainsService } from './domains.service.js';
import { RoutingOverviewService } from './routing-overview.service.js';

@Module({ controllers: [DomainsController], providers: [DomainsService, RoutingOverviewService] })
export class DomainsModule {}
