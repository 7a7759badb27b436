import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { DriftService } from '../sync/drift.service.js';
import { HaproxyReloadService } from '../sync/haproxy-reload.service.js';
import { HaproxyWatchService } from '../sync/haproxy-watch.service.js';
import { ReconcilerService } from './reconciler.service.js';

@Module({
  imports: [HaproxyModule],
  providers: [ReconcilerService, HaproxyReloadService, HaproxyWatchService, DriftService],
  exports: [ReconcilerService, HaproxyReloadService, HaproxyWatchService, DriftService],
})
export class ReconcilerModule {}
