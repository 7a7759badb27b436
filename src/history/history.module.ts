import { Module } from '@nestjs/common';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { HistoryController } from './history.controller.js';
import { HistoryService } from './history.service.js';

@Module({
  imports: [ReconcilerModule],
  controllers: [HistoryController],
  providers: [HistoryService],
})
export class HistoryModule {}
