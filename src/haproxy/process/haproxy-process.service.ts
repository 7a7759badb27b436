import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../../errors/app-error.js';
import { waitForAll } from '../../lib/wait-for-all.js';
import { Settings, type SocketAddress } from '../../settings/settings.js';
import { checkConfiguration, complaintsOf, requireVersion } from './haproxy-binary.js';
import { HaproxyLog } from './haproxy-log.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { LogTail } from './log-tail.js';
import { MasterCli } from './master-cli.js';
import { OsProcess } from './os-process.js';
import { ProcessRecord } from './process-record.js';
import { nameOf } from '../runtime/transport.js';

/** From the start of the process until the Runtime API answers; thousands of certificates take seconds to load. */
const START_LIMIT_MS = 60_000;
/** A look costs a millisecond, and HAProxy some sixty to start. */
const ANSWER_POLL_MS = 5;
/** One whose master CLI answers has loaded; if its Runtime API does not answer soon, it is elsewhere. */
const TAKE_OVER_LIMIT_MS = 10_000;
/** A master that is being killed takes its worker with it, a moment later. */
const FOREIGN_LIMIT_MS = 2_000;
/** How soon the death of a HAProxy that is not our child is noticed. */
const LOOK_MS = 50;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** Having run this long, it counts as healthy: the next death is answered at once again. */
const HEALTHY_MS = 30_000;
/** Requests under way may take this long to finish when the suite stops. */
const GRACE_MS = 10_000;
const TERM_MS = 3_000;

interface ProcessEvents {
  /** The Runtime API answers; the worker's pid. */
  up: [pid: number];
  down: [];
}

/**
 * Runs HAProxy itself (HAPROXY_CONTROL=managed), in master-worker mode and detached: when the suite is killed,
 * HAProxy goes on serving, and the next suite takes it over by its master socket.
 */
@Injectable()
export class HaproxyProcessService extends EventEmitter<ProcessEvents> {
  readonly #logger = new Logger('HaproxyProcess');
  readonly #cli: MasterCli;
  readonly #stopping = new AbortController();
  #process: OsProcess | undefined;
  #watch: Promise<void> | undefined;
  #tail: LogTail | undefined;
  #launched = false;
  /** What `find` found; undefined before it has looked. */
  #found: { process: OsProcess; answersWithinMs: number } | 'none' | undefined;
  #version: string | undefined;
  readonly #record: ProcessRecord;

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
  ) {
    super();
    this.#cli = new MasterCli(settings.master);
    this.#record = new ProcessRecord(join(settings.folders.run, 'haproxy.launched'));
  }

  /** The master's pid while HAProxy runs. */
  get pid(): number | undefined {
    return this.#process?.alive ? this.#process.pid : undefined;
  }

  /**
   * Looks for the HAProxy of this home that runs already.
   *
   * @throws AppError haproxy_unavailable where somebody else's has our addresses
   */
  async find(): Promise<void> {
    const serving = await this.#cli.processes();
    const launched = serving ? undefined : this.#record.read();
    if (serving) {
      this.#found = { process: new OsProcess(serving.master), answersWithinMs: TAKE_OVER_LIMIT_MS };
    } else if (launched) {
      this.#found = { process: launched, answersWithinMs: START_LIMIT_MS };
    } else {
      await this.#refuseForeign();
      this.#found = 'none';
    }
  }

  /**
   * Whether what a start needs is there and in order: the binary and, where `find` found nothing that runs, the
   * configuration, pools and map. Nothing is changed.
   *
   * @throws AppError haproxy_unavailable, with what to do
   */
  async check(): Promise<void> {
    const configuration = this.#found === 'none' ? this.#refuseBadConfiguration() : Promise.resolve();
    // One that is missing or too old is told before what it makes of the configuration.
    const version = requireVersion(this.settings.haproxyBin).then(({ text }) => {
      this.#version = text;
    });
    await waitForAll(version, configuration);
  }

  /**
   * Takes over the HAProxy that was found, or starts one, and keeps it running until `stop`. Resolves once the Runtime
   * API answers. Looks and checks first, where that has not been done.
   *
   * @throws AppError haproxy_unavailable, with what to do
   */
  async start(): Promise<void> {
    if (!this.#found) await this.find();
    if (!this.#version) await this.check();
    this.#tail = new LogTail(this.settings.files.haproxyLog, new HaproxyLog().pass);
    try {
      if (this.#found && this.#found !== 'none') {
        const { process, answersWithinMs } = this.#found;
        this.#process = process;
        this.#logger.log(`HAProxy runs already (pid ${process.pid}) and is taken over`);
        this.emit('up', await this.#answering(process, answersWithinMs));
      } else {
        this.emit('up', await this.#launch());
        this.#logger.log(`HAProxy ${this.#version} serves (pid ${this.#process?.pid})`);
      }
    } catch (error) {
      this.#tail.close();
      throw error;
    }
    this.#watch = this.#keepRunning();
  }

  /** After a start that failed: what this suite launched is stopped, what served before it goes on serving. */
  async abandon(): Promise<void> {
    if (!this.#launched) this.#process = undefined;
    await this.stop();
  }

  /**
   * Stops HAProxy gracefully: no new connections, those under way may finish; after ten seconds they are cut.
   * Without a `start` it does nothing.
   */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    await this.#watch;
    const haproxy = this.#process;
    if (haproxy?.alive) {
      haproxy.signal('SIGUSR1');
      if (!(await haproxy.gone(GRACE_MS))) {
        this.#logger.warn(`Connections lasted longer than ${GRACE_MS / 1000} s; HAProxy is ended with them`);
        haproxy.signal('SIGTERM');
        if (!(await haproxy.gone(TERM_MS))) haproxy.signal('SIGKILL');
        await haproxy.gone(TERM_MS);
      }
    }
    if (this.#watch) this.#tail?.close();
  }

  async #keepRunning(): Promise<void> {
    let pause = 0;
    let since = performance.now();
    while (!this.#stopping.signal.aborted) {
      if (this.#process?.alive) {
        await this.#rest(LOOK_MS);
        continue;
      }
      this.emit('down');
      this.#tail?.flush();
      if (performance.now() - since > HEALTHY_MS) pause = 0;
      this.#logger.error(
        `HAProxy is gone; it is started again ${pause === 0 ? 'at once' : `in ${pause} ms`}`,
      );
      await this.#rest(pause);
      pause = pause === 0 ? FIRST_PAUSE_MS : Math.min(pause * 2, LONGEST_PAUSE_MS);
      if (this.#stopping.signal.aborted) return;
      since = performance.now();
      try {
        this.emit('up', await this.#launch());
        this.#logger.log(`HAProxy serves again (pid ${this.#process?.pid})`);
      } catch (error) {
        this.#logger.error(messageOf(error));
      }
    }
  }

  /** Detached, in a session of its own: no signal and no closed pipe of the suite reaches it. */
  async #launch(): Promise<number> {
    const { haproxyBin, files, folders, master } = this.settings;
    const output = openSync(files.haproxyLog, 'a', 0o640);
    const args = [
      '-W',
      '-S',
      masterBind(master),
      '-p',
      join(folders.run, 'haproxy.pid'),
      '-f',
      files.config,
      '-f',
      files.pools,
    ];
    const child = spawn(haproxyBin, args, { detached: true, stdio: ['ignore', output, output] });
    closeSync(output);
    let failure = '';
    child.once('error', (error) => {
      failure = error.message;
    });
    child.unref();
    if (child.pid === undefined) {
      await delay(0);
      throw new AppError('haproxy_unavailable', `${haproxyBin} could not be started: ${failure}`);
    }
    this.#process = new OsProcess(child.pid);
    this.#launched = true;
    // At once: a suite killed while HAProxy still loads would leave nothing else to find it by.
    this.#record.write(this.#process);
    return this.#answering(this.#process, START_LIMIT_MS);
  }

  /** The pid of the worker, once it answers; one of a former master, which is about to go, does not count. */
  async #answering(haproxy: OsProcess, limitMs: number): Promise<number> {
    const end = performance.now() + limitMs;
    let words = '';
    while (haproxy.alive && performance.now() < end && !this.#stopping.signal.aborted) {
      try {
        const { pid } = await this.runtime.info();
        const processes = await this.#cli.processes();
        if (processes?.master === haproxy.pid && processes.workers.includes(pid)) return pid;
      } catch (error) {
        words = messageOf(error);
      }
      await delay(ANSWER_POLL_MS);
    }
    this.#tail?.flush();
    if (haproxy.alive)
      throw new AppError(
        'haproxy_unavailable',
        `HAProxy runs (pid ${haproxy.pid}) but does not answer: ${words}`,
      );
    throw new AppError(
      'haproxy_unavailable',
      `HAProxy ended while it started. Its last words are above and in ${this.settings.files.haproxyLog}.`,
    );
  }

  /** Two HAProxies on one Runtime API address would get each other's changes. */
  async #refuseForeign(): Promise<void> {
    const end = performance.now() + FOREIGN_LIMIT_MS;
    for (;;) {
      const info = await this.runtime.info().catch(() => undefined);
      if (!info) return;
      if (performance.now() > end)
        throw new AppError(
          'haproxy_unavailable',
          `Another HAProxy (pid ${info.pid}) has the Runtime API address ${nameOf(this.settings.runtime)}, and its master does not answer on ${nameOf(this.settings.master)}. ` +
            'Stop it, or choose another address with HAPROXY_PORT or HAPROXY_SOCKET (and HAPROXY_CONTROL=managed), or let the suite use that one with HAPROXY_CONTROL=master and HAPROXY_MASTER_SOCKET.',
        );
      await delay(50);
    }
  }

  async #refuseBadConfiguration(): Promise<void> {
    const { config, pools } = this.settings.files;
    const { valid, output } = await checkConfiguration(this.settings.haproxyBin, [config, pools]);
    if (!valid)
      throw new AppError(
        'haproxy_unavailable',
        `HAProxy refuses its configuration; correct it and start again:\n${complaintsOf(output)}`,
      );
  }

  /** A pause that `stop` ends. */
  async #rest(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}

/** The master's socket lets its users stop HAProxy: only this user may open it. */
function masterBind(address: SocketAddress): string {
  return 'path' in address ? `${address.path},mode,600` : nameOf(address);
}
