import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { ExportService } from './export.service.js';
import { ImportService } from './import.service.js';
import { TransferController } from './transfer.controller.js';

@Module({
  imports: [HaproxyModule, JobsModule, ReconcilerModule],
  controllers: [TransferController],
  providers: [ExportService, ImportService],
})
export class TransferModule {}
