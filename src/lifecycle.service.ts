import { type BeforeApplicationShutdown, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { TokenStore } from './access/token-store.js';
import { CertificatesLifecycle } from './certificates/certificates.lifecycle.js';
import { Readiness } from './signals/readiness.js';
import { Shutdown } from './signals/shutdown.js';
import { waitForAll } from './lib/wait-for-all.js';
import { ensureConfig } from './haproxy/config/config-file.js';
import { HaproxyProcessService } from './haproxy/process/haproxy-process.service.js';
import { JobsService } from './jobs/jobs.service.js';
import { PersistenceService } from './persistence/persistence.service.js';
import { DriftService } from './sync/drift.service.js';
import { HaproxyWatchService } from './sync/haproxy-watch.service.js';
import { Settings } from './settings/settings.js';

/** The one place that says in which order the suite starts and stops. Building the application does none of this. */
@Injectable()
export class LifecycleService implements BeforeApplicationShutdown, OnApplicationShutdown {
  #prepared = false;
  #started = false;

  constructor(
    private readonly settings: Settings,
    private readonly tokens: TokenStore,
    private readonly persistence: PersistenceService,
    private readonly haproxy: HaproxyProcessService,
    private readonly watch: HaproxyWatchService,
    private readonly drift: DriftService,
    private readonly certificates: CertificatesLifecycle,
    private readonly operations: JobsService,
    private readonly readiness: Readiness,
    private readonly shutdown: Shutdown,
  ) {}

  /** Before the port is opened: the lock, so that a second suite touches nothing, the state, the tokens, and HAProxy's files. */
  async prepare(): Promise<void> {
    await this.persistence.open();
    this.#prepared = true;
    await this.tokens.open();
    await this.certificates.open();
    await this.operations.open();
    await ensureConfig(this.settings);
    if (this.#runsHaproxy) await this.haproxy.find();
  }

  /** While the port is opened: whether HAProxy can be started. It needs as long to read its files as the port does. */
  async check(): Promise<void> {
    if (this.#runsHaproxy) await this.haproxy.check();
  }

  /** With the port open and `/readyz` still saying no; it says yes once HAProxy has the desired state. */
  async start(): Promise<void> {
    // A HAProxy that just came up has the files, but not what they cannot say: look at it at once.
    this.haproxy.on('up', () => this.watch.checkNow());
    await waitForAll(
      this.#runsHaproxy ? this.haproxy.start() : Promise.resolve(),
      this.certificates.start(),
      this.#prepareSearch(),
    );
    this.watch.start();
    this.drift.start();
    this.#started = true;
  }

  /** Now, with HAProxy starting, so that nobody waits for it with the first search. */
  async #prepareSearch(): Promise<void> {
    this.persistence.state.domainIndex().buildSearchTexts();
  }

  get #runsHaproxy(): boolean {
    return this.settings.control === 'managed';
  }

  /** Callers still connected get their answers; new ones are sent elsewhere by `/readyz`. */
  async beforeApplicationShutdown(): Promise<void> {
    this.readiness.set(false, 'The suite is stopping.');
    this.shutdown.begin();
    this.certificates.stop();
    // A CA may take minutes, and the port is not closed before those who wait for it have their answer.
    await this.operations.stop();
  }

  /** The port is closed and nobody waits for an answer any more. */
  async onApplicationShutdown(): Promise<void> {
    if (!this.#prepared) return;
    await this.drift.stop();
    await this.watch.stop();
    // A start that failed must not end a HAProxy that was serving before it.
    await (this.#started ? this.haproxy.stop() : this.haproxy.abandon());
    await this.persistence.close();
  }
}
