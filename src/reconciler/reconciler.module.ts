import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { HaproxyWatchService } from './haproxy-watch.service.js';
import { ReconcilerService } from './reconciler.service.js';

@Module({
  imports: [HaproxyModule],
  providers: [ReconcilerService, HaproxyWatchService],
  exports: [ReconcilerService, HaproxyWatchService],
})
export class ReconcilerModule {}
