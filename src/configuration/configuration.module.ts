import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { StateController } from './state.controller.js';
import { StateService } from './state.service.js';

@Module({
  imports: [HaproxyModule, ReconcilerModule],
  controllers: [StateController],
  providers: [StateService],
})
export class ConfigurationModule {}
