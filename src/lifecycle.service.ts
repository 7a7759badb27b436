import { existsSync } from 'node:fs';
import { type BeforeApplicationShutdown, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { NamedTokens } from './access/named-tokens.js';
import { TokenStore } from './access/token-store.js';
import { CertificatesLifecycle } from './certificates/certificates.lifecycle.js';
import { ConfigCheckService } from './haproxy/config/check/config-check.service.js';
import { ensureConfig } from './haproxy/config/config-file.js';
import { HaproxyProcessService } from './haproxy/process/haproxy-process.service.js';
import { checkFirstStart } from './haproxy/process/start-checks.js';
import { SuiteRules } from './haproxy/config/suite/suite-rules.service.js';
import { JobsService } from './jobs/jobs.service.js';
import { waitForAll } from './lib/wait-for-all.js';
import { PersistenceService } from './persistence/persistence.service.js';
import { Settings } from './settings/settings.js';
import { EventFeed } from './signals/event-feed.js';
import { Readiness } from './signals/readiness.js';
import { Shutdown } from './signals/shutdown.js';
import { DownServersService } from './sync/down-servers.service.js';
import { DriftService } from './sync/drift.service.js';
import { HaproxyWatchService } from './sync/haproxy-watch.service.js';

/** Defines the order in which the suite starts and stops. Building the application starts and stops nothing. */
@Injectable()
export class LifecycleService implements BeforeApplicationShutdown, OnApplicationShutdown {
  #opened = false;
  #started = false;

  constructor(
    private readonly settings: Settings,
    private readonly tokens: TokenStore,
    private readonly namedTokens: NamedTokens,
    private readonly persistence: PersistenceService,
    private readonly rules: SuiteRules,
    private readonly haproxy: HaproxyProcessService,
    private readonly watch: HaproxyWatchService,
    private readonly drift: DriftService,
    private readonly downServers: DownServersService,
    private readonly certificates: CertificatesLifecycle,
    private readonly jobs: JobsService,
    private readonly readiness: Readiness,
    private readonly shutdown: Shutdown,
    private readonly feed: EventFeed,
    private readonly configChecks: ConfigCheckService,
  ) {}

  /** Before the port opens: takes the lock, so that a second suite changes nothing; reads the state, tokens and files. */
  async open(): Promise<void> {
    // A first start that can only fail, such as of someone who tries the command, creates no folder.
    if (this.#runsHaproxy && !existsSync(this.settings.home)) await checkFirstStart(this.settings);
    await this.persistence.acquire();
    await ensureConfig(this.settings);
    await this.persistence.open();
    this.#opened = true;
    await this.tokens.open();
    this.namedTokens.open();
    await this.certificates.open();
    await this.jobs.open();
    await this.rules.updateAtStart();
    if (this.#runsHaproxy) await this.haproxy.findRunning();
  }

  /** While the port opens: checks that HAProxy accepts its configuration, and warns about what the suite misses in it. */
  async checkConfiguration(): Promise<void> {
    if (this.#runsHaproxy) await this.haproxy.checkStartable();
    await this.configChecks.warn();
  }

  /** With the port open and `/readyz` still 503. `/readyz` is 200 once HAProxy has the saved state. */
  async start(): Promise<void> {
    // A new HAProxy has only the state in the files, which is not complete: restore the rest at once.
    this.feed.subscribe((event) => {
      if (event.topic === 'haproxy_started') this.watch.checkNow();
    });
    await waitForAll(
      this.#runsHaproxy ? this.haproxy.start() : Promise.resolve(),
      this.certificates.start(),
      this.#buildSearchIndex(),
    );
    this.watch.start();
    this.drift.start();
    this.downServers.start();
    this.#started = true;
  }

  /** Sorts and indexes while HAProxy starts, so that the first list and the first search do not wait. */
  async #buildSearchIndex(): Promise<void> {
    this.persistence.state.sortedDomains();
    this.persistence.state.sortedPools();
    this.persistence.state.domainIndex().buildSearchTexts();
  }

  get #runsHaproxy(): boolean {
    return this.settings.control === 'managed';
  }

  /** The port is still open: callers get their answers, and load balancers read 503 from `/readyz` and send no more. */
  async beforeApplicationShutdown(): Promise<void> {
    this.readiness.set(false, 'The suite is stopping.');
    this.shutdown.begin();
    this.certificates.stop();
    // Callers that wait for a job get its answer before the port closes.
    await this.jobs.stop();
  }

  /** The port is closed, and no caller waits for an answer. */
  async onApplicationShutdown(): Promise<void> {
    if (!this.#opened) return;
    await this.drift.stop();
    if (this.#started) await this.downServers.stop();
    await this.watch.stop();
    // After a failed start, a HAProxy that served before must continue to serve.
    await (this.#started ? this.haproxy.stop() : this.haproxy.stopIfLaunched());
    await this.persistence.close();
  }
}
