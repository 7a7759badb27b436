import { Global, Module } from '@nestjs/common';
import { Readiness } from './readiness.js';

/** The few things that every layer may ask for. */
@Global()
@Module({ providers: [Readiness], exports: [Readiness] })
export class CommonModule {}
