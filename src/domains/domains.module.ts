import { Module } from '@nestjs/common';
import { CertificatesModule } from '../certificates/certificates.module.js';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { ServersModule } from '../servers/servers.module.js';
import { DomainsController } from './domains.controller.js';
import { ExpiryService } from './expiry.service.js';
import { DomainsService } from './domains.service.js';
import { PoolOptionsController } from './pool-options.controller.js';
import { PoolOptionsService } from './pool-options.service.js';
import { RoutingOverviewService } from './routing-overview.service.js';

@Module({
  imports: [CertificatesModule, HaproxyModule, ReconcilerModule, ServersModule],
  controllers: [DomainsController, PoolOptionsController],
  providers: [DomainsService, ExpiryService, PoolOptionsService, RoutingOverviewService],
  exports: [ExpiryService],
})
export class DomainsModule {}
