import { Global, Module } from '@nestjs/common';
import { EventFeed } from './event-feed.js';
import { Readiness } from './readiness.js';
import { Shutdown } from './shutdown.js';

/** The event feed, the readiness and the shutdown signal, injectable in every module. */
@Global()
@Module({ providers: [EventFeed, Readiness, Shutdown], exports: [EventFeed, Readiness, Shutdown] })
export class SignalsModule {}
