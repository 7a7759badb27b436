import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { DriftService } from './drift.service.js';
import { HaproxyWatchService } from './haproxy-watch.service.js';
import { ReconcilerService } from './reconciler.service.js';

@Module({
  imports: [HaproxyModule],
  providers: [ReconcilerService, HaproxyWatchService, DriftService],
  exports: [ReconcilerService, HaproxyWatchService, DriftService],
})
export class ReconcilerModule {}
