import { Global, Module } from '@nestjs/common';
import { EventFeed } from './event-feed.js';
import { Readiness } from './readiness.js';
import { Shutdown } from './shutdown.js';

/** The few things that every layer may ask for. */
@Global()
@Module({ providers: [EventFeed, Readiness, Shutdown], exports: [EventFeed, Readiness, Shutdown] })
export class SignalsModule {}
