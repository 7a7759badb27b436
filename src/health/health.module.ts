import { Module } from '@nestjs/common';
import { ProbesController } from './probes.controller.js';
import { Readiness } from './readiness.js';

@Module({ controllers: [ProbesController], providers: [Readiness], exports: [Readiness] })
export class HealthModule {}
