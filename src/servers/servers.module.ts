import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { RemovedServers } from './removed-servers.service.js';
import { ReplaceServerController } from './replace-server.controller.js';
import { ReplaceServerService } from './replace-server.service.js';
import { ServerViews } from './server-views.service.js';
import { ServersController } from './servers.controller.js';
import { ServersService } from './servers.service.js';
import { WaitDrainService } from './wait-drain.service.js';

@Module({
  imports: [HaproxyModule, JobsModule, ReconcilerModule],
  controllers: [ServersController, ReplaceServerController],
  providers: [ServersService, WaitDrainService, RemovedServers, ReplaceServerService, ServerViews],
  exports: [RemovedServers, ServerViews],
})
export class ServersModule {}
