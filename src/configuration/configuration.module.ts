import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { SyncModule } from '../sync/sync.module.js';
import { ConfigTextService } from './config-text.service.js';
import { ConfigurationController } from './configuration.controller.js';
import { ConfigurationService } from './configuration.service.js';
import { StateController } from './state.controller.js';
import { StateService } from './state.service.js';

@Module({
  imports: [HaproxyModule, ReconcilerModule, SyncModule],
  controllers: [ConfigurationController, StateController],
  providers: [ConfigTextService, ConfigurationService, StateService],
})
export class ConfigurationModule {}
