import { Global, Module } from '@nestjs/common';
import { ChangeFeed } from './change-feed.js';
import { Readiness } from './readiness.js';

/** The few things that every layer may ask for. */
@Global()
@Module({ providers: [ChangeFeed, Readiness], exports: [ChangeFeed, Readiness] })
export class CommonModule {}
