import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { TokenStore } from './access/token-store.js';
import { Readiness } from './health/readiness.js';

/** The one place that says in which order the suite starts and stops. Building the application does none of this. */
@Injectable()
export class LifecycleService implements BeforeApplicationShutdown {
  constructor(
    private readonly tokens: TokenStore,
    private readonly readiness: Readiness,
  ) {}

  /** Before the port is opened: what must not go wrong while callers are let in. */
  async prepare(): Promise<void> {
    await this.tokens.open();
  }

  /** With the port open, `/readyz` still saying no. */
  async start(): Promise<void> {
    this.readiness.set(true, 'Everything is restored.');
  }

  beforeApplicationShutdown(): void {
    this.readiness.set(false, 'The suite is stopping.');
  }
}
