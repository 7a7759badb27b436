import { Global, Module } from '@nestjs/common';
import { ChangeFeed } from './change-feed.js';
import { Readiness } from './readiness.js';
import { Shutdown } from './shutdown.js';

/** The few things that every layer may ask for. */
@Global()
@Module({ providers: [ChangeFeed, Readiness, Shutdown], exports: [ChangeFeed, Readiness, Shutdown] })
export class CommonModule {}
