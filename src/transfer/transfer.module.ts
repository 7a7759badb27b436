import { Module } from '@nestjs/common';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { TransferController } from './transfer.controller.js';
import { TransferService } from './transfer.service.js';

/** Everything in, everything out. */
@Module({ imports: [ReconcilerModule], controllers: [TransferController], providers: [TransferService] })
export class TransferModule {}
