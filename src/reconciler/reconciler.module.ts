import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerService } from './reconciler.service.js';

@Module({ imports: [HaproxyModule], providers: [ReconcilerService], exports: [ReconcilerService] })
export class ReconcilerModule {}
