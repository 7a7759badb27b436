import { Module } from '@nestjs/common';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { HistoryController } from './history.controller.js';
import { HistoryService } from './history.service.js';

@Module({
  imports: [HaproxyModule, ReconcilerModule],
  controllers: [HistoryController],
  providers: [HistoryService],
})
export class HistoryModule {}
