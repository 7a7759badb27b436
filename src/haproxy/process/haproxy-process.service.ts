import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../../errors/app-error.js';
import { waitForAll } from '../../lib/wait-for-all.js';
import { runFiles } from '../../settings/run-files.js';
import { Settings } from '../../settings/settings.js';
import { EventFeed } from '../../signals/event-feed.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { FormerMasters } from './former-masters.js';
import { formatAddress } from '../runtime/transport.js';
import { requireVersion } from './haproxy-binary.js';
import { HaproxyLog, LogTail } from './haproxy-log.js';
import { type LaunchedHaproxy, launchHaproxy } from './launch.js';
import { offerListeners } from './listener-handover.js';
import { checkLeave } from './leave-check.js';
import { checkStartFiles, rejectForeignHaproxy } from './start-checks.js';
import { logFrom, logSize } from './start-files.js';
import { MasterCli, type ReloadResult } from './master-cli.js';
import { OsProcess } from './os-process.js';
import { PidFile } from './pid-file.js';
import { GRACE_MS, stopHaproxy } from './stop-haproxy.js';

/** The limit from the launch until the Runtime API answers. Thousands of certificates take several seconds to load. */
const START_LIMIT_MS = 60_000;
/** One check takes a millisecond, and HAProxy starts in about 60 ms. */
const READY_POLL_MS = 5;
/** A HAProxy whose master CLI answers is loaded, so its Runtime API must answer soon, or it has another address. */
const ATTACH_LIMIT_MS = 10_000;
/** How long a HAProxy that detached itself may take until its master socket answers. */
const DETACH_LIMIT_MS = 5_000;
const DETACH_POLL_MS = 50;
/** How often the suite checks that HAProxy is alive. HAProxy may not be a child process, so there is no exit event. */
const ALIVE_POLL_MS = 50;
/** How often the suite checks that the master has a worker, and after how many failed checks it reloads HAProxy. */
const WORKER_CHECK_MS = 1_000;
const WORKERLESS_CHECKS = 2;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** After HAProxy has run this long, the next restart is immediate again. */
const STABLE_MS = 30_000;

/**
 * Runs HAProxy (HAPROXY_CONTROL=managed) in master-worker mode and detached: if the suite is killed, HAProxy continues
 * to serve, and the next suite attaches to it. Publishes `haproxy_started`.
 */
@Injectable()
export class HaproxyProcessService {
  readonly #logger = new Logger('HaproxyProcess');
  readonly #masterCli: MasterCli;
  readonly #pidFile: PidFile;
  readonly #formerMasters: FormerMasters;
  readonly #stopping = new AbortController();
  /** The master. */
  #process: OsProcess | undefined;
  #supervision: Promise<void> | undefined;
  #logTail: LogTail | undefined;
  #launched = false;
  /** True while a new master replaces the running one. */
  #takingOver = false;
  #nextWorkerCheck = 0;
  #unansweredChecks = 0;
  /** The result of `findRunning`; undefined before the first call. */
  #running: { process: OsProcess; readyLimitMs: number } | 'none' | undefined;
  #version: string | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
    private readonly feed: EventFeed,
  ) {
    this.#masterCli = new MasterCli(settings.master);
    this.#formerMasters = new FormerMasters(settings.folders.run);
    this.#pidFile = new PidFile(runFiles(settings.folders.run).launched);
  }

  /** The pid of the master while HAProxy runs. */
  get pid(): number | undefined {
    return this.#process?.alive ? this.#process.pid : undefined;
  }

  /**
   * Finds the HAProxy of this installation if it already runs. Throws if another HAProxy uses the Runtime API address.
   *
   * @throws AppError haproxy_unavailable
   */
  async findRunning(): Promise<void> {
    const processes = await this.#masterCli.processes();
    const launched = processes ? undefined : this.#pidFile.read();
    if (processes) {
      this.#running = { process: new OsProcess(processes.master), readyLimitMs: ATTACH_LIMIT_MS };
    } else if (launched) {
      this.#running = { process: launched, readyLimitMs: START_LIMIT_MS };
    } else {
      await rejectForeignHaproxy(this.settings, this.runtime);
      this.#running = 'none';
    }
  }

  /**
   * Checks that HAProxy can start: the binary and, if `findRunning` found no HAProxy, the configuration with pools and
   * map. With HAPROXY_ON_STOP=leave, checks that HAProxy can outlive the suite. Changes nothing.
   *
   * @throws AppError haproxy_unavailable
   */
  async checkStartable(): Promise<void> {
    const configuration = this.#running === 'none' ? checkStartFiles(this.settings) : Promise.resolve();
    // An error of the binary is reported before an error of the configuration.
    const version = requireVersion(this.settings.haproxyBin).then(({ text }) => {
      this.#version = text;
    });
    const leave = this.settings.onStop === 'leave' ? this.#requireLeave() : Promise.resolve();
    await waitForAll(leave, version, configuration);
  }

  async #requireLeave(): Promise<void> {
    const finding = await checkLeave(this.settings);
    if (finding?.level === 'error') throw new AppError('haproxy_unavailable', finding.message);
    if (finding) this.#logger.warn(finding.message);
  }

  /**
   * Attaches to the HAProxy that already runs, or launches one, and restarts it when it exits, until `stop`. Resolves
   * when the Runtime API answers. Calls `findRunning` and `checkStartable` first if the caller did not.
   *
   * @throws AppError haproxy_unavailable
   */
  async start(): Promise<void> {
    if (!this.#running) await this.findRunning();
    if (!this.#version) await this.checkStartable();
    this.#logTail = new LogTail(this.settings.files.haproxyLog, new HaproxyLog().write);
    try {
      if (this.#running && this.#running !== 'none') {
        const { process, readyLimitMs } = this.#running;
        this.#process = process;
        this.#logger.log(`HAProxy already runs (pid ${process.pid}); the suite attaches to it`);
        await this.#waitUntilReady(process, readyLimitMs);
        await this.#warnOfOtherVersion();
      } else {
        await this.#launch();
        this.#logger.log(`HAProxy ${this.#version} runs (pid ${this.#process?.pid})`);
      }
    } catch (error) {
      this.#logTail.close();
      throw error;
    }
    this.#supervision = this.#supervise();
  }

  /** After a failed start: stops the HAProxy that this suite launched. A HAProxy that ran before continues to serve. */
  async stopIfLaunched(): Promise<void> {
    await this.#end(!this.#launched);
  }

  /**
   * Stops HAProxy gracefully: it accepts no new connections, and existing connections have 10 s to finish. With
   * HAPROXY_ON_STOP=leave, HAProxy continues to serve. Does nothing without a `start`.
   */
  async stop(): Promise<void> {
    await this.#end(this.settings.onStop === 'leave');
  }

  async #end(leavesHaproxy: boolean): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    await this.#supervision;
    const haproxy = this.#process;
    if (haproxy?.alive && leavesHaproxy)
      this.#logger.log(
        `HAProxy (pid ${haproxy.pid}) continues to serve; the next start of the suite attaches to it. Until then its messages are only in ${this.settings.files.haproxyLog}`,
      );
    else if (haproxy?.alive) await this.#stopHaproxy(haproxy);
    if (this.#supervision) this.#logTail?.close();
  }

  async #stopHaproxy(haproxy: OsProcess): Promise<void> {
    await stopHaproxy(haproxy, () =>
      this.#logger.warn(
        `HAProxy still has connections after ${GRACE_MS / 1000} s; the suite ends HAProxy and its connections`,
      ),
    );
  }

  /** After an upgrade of HAProxy. The suite does not replace HAProxy without being asked. */
  async #warnOfOtherVersion(): Promise<void> {
    const { version } = await this.runtime.info();
    if (version !== this.#version)
      this.#logger.warn(
        `HAProxy ${version} runs, and ${this.settings.haproxyBin} is ${this.#version}. {haproxy_reload} starts the new version and loses no request`,
      );
  }

  /** Restarts HAProxy when it has exited: at once the first time, later with an exponential backoff. */
  async #supervise(): Promise<void> {
    let backoffMs = 0;
    let launchedAt = performance.now();
    while (!this.#stopping.signal.aborted) {
      if (this.#process?.alive || this.#takingOver) {
        if (!this.#takingOver)
          await this.#reviveWorkerless().catch((error: unknown) => this.#logger.error(messageOf(error)));
        await this.#sleep(ALIVE_POLL_MS);
        continue;
      }
      this.#logTail?.flush();
      if (performance.now() - launchedAt > STABLE_MS) backoffMs = 0;
      this.#logger.error(
        `HAProxy has exited; the suite restarts it ${backoffMs === 0 ? 'at once' : `in ${backoffMs} ms`}`,
      );
      await this.#sleep(backoffMs);
      backoffMs = backoffMs === 0 ? FIRST_BACKOFF_MS : Math.min(backoffMs * 2, MAX_BACKOFF_MS);
      if (this.#stopping.signal.aborted) return;
      launchedAt = performance.now();
      try {
        await this.#launch();
        this.#logger.log(`HAProxy runs again (pid ${this.#process?.pid})`);
      } catch (error) {
        this.#logger.error(messageOf(error));
      }
    }
  }

  /**
   * Starts a new master with all configuration files. Its worker gets the listening sockets of the former HAProxy (`-x`)
   * and lets it finish its connections (`-sf`). If the new HAProxy does not start, the former one continues to serve. A
   * reload does not replace this: it reads only the files that the master was started with. Call it while no change is
   * under way.
   */
  async takeOver(): Promise<ReloadResult> {
    const former = this.#process;
    const logged = logSize(this.settings.files.haproxyLog);
    let next: OsProcess | undefined;
    let listeners: string | undefined;
    this.#takingOver = true;
    try {
      if (former?.alive) {
        this.#formerMasters.add(former);
        listeners = await this.#listenersOfRunning(former);
      }
      ({ process: next } = await this.#spawn([
        ...(former?.alive ? ['-sf', String(former.pid)] : []),
        ...(listeners === undefined ? [] : ['-x', listeners]),
      ]));
      await this.#waitUntilReady(next, START_LIMIT_MS);
      this.#process = next;
      this.#launched = true;
      this.#logger.log(`A new HAProxy (pid ${next.pid}) serves with ${this.settings.files.suite}`);
      return { success: true, log: '' };
    } catch (error) {
      if (former?.alive) {
        next?.signal('SIGTERM');
        this.#pidFile.write(former);
        this.#formerMasters.remove(former);
      } else this.#process = next;
      const log = logFrom(this.settings.files.haproxyLog, logged);
      return { success: false, log: `${messageOf(error)}\n${log}` };
    } finally {
      if (listeners !== undefined) rmSync(listeners, { force: true });
      this.#takingOver = false;
    }
  }

  /** The socket that hands over the listening sockets; undefined if the new HAProxy must open the ports itself. */
  async #listenersOfRunning(former: OsProcess): Promise<string | undefined> {
    const socket = await offerListeners(this.settings, this.#masterCli, former).catch((error: unknown) => {
      this.#logger.warn(messageOf(error));
      return undefined;
    });
    if (socket === undefined)
      this.#logger.warn(
        `The running HAProxy does not hand over its listening sockets, so the new one opens the ports itself; a few new connections can fail meanwhile. A HAProxy that can be reloaded with ${this.settings.files.config} hands them over`,
      );
    return socket;
  }

  /**
   * Reloads a master that goes on without a worker. With `master-worker no-exit-on-failure`, a master whose worker crashed
   * stays while old workers finish their connections, and nothing accepts new ones.
   */
  async #reviveWorkerless(): Promise<void> {
    if (performance.now() < this.#nextWorkerCheck) return;
    this.#nextWorkerCheck = performance.now() + WORKER_CHECK_MS;
    const answers = await this.runtime.info().catch(() => undefined);
    // After a reload that failed, a master may list the worker that serves as an old one, so HAProxy itself is asked too.
    const processes = answers ? undefined : await this.#masterCli.processes().catch(() => undefined);
    this.#unansweredChecks = processes?.workers.length === 0 ? this.#unansweredChecks + 1 : 0;
    if (this.#unansweredChecks < WORKERLESS_CHECKS) return;
    this.#unansweredChecks = 0;
    this.#logger.error(
      `The worker of HAProxy (master ${processes?.master}) has exited; the suite reloads HAProxy`,
    );
    const { success, log } = await this.#masterCli.reload();
    if (!success) this.#logger.error(`The reload of HAProxy failed: ${log.slice(-500)}`);
  }

  async #launch(): Promise<void> {
    // A HAProxy that detached itself, or that another program started, already serves with these files.
    if (await this.#attachToMaster()) return;
    const { process: haproxy, exitCode } = await this.#spawn([]);
    this.#process = haproxy;
    this.#launched = true;
    try {
      await this.#waitUntilReady(haproxy, START_LIMIT_MS);
    } catch (error) {
      if (haproxy.alive) throw error;
      // A program that detaches exits with 0 (`-D` in a script of HAPROXY_BIN), and its HAProxy listens a moment later.
      if ((await exitCode) !== 0 || !(await this.#attachToDetached())) throw error;
    }
  }

  /** Attaches to the HAProxy that answers on the master socket. False if nothing listens there. */
  async #attachToMaster(): Promise<boolean> {
    const processes = await this.#masterCli.processes();
    if (!processes) return false;
    this.#process = new OsProcess(processes.master);
    this.#pidFile.write(this.#process);
    this.#logger.warn(
      `HAProxy already runs (pid ${processes.master}), and the suite did not start it as its own process; the suite attaches to it`,
    );
    await this.#waitUntilReady(this.#process, ATTACH_LIMIT_MS);
    return true;
  }

  async #attachToDetached(): Promise<boolean> {
    const deadline = performance.now() + DETACH_LIMIT_MS;
    while (performance.now() < deadline && !this.#stopping.signal.aborted) {
      if (await this.#attachToMaster()) return true;
      await delay(DETACH_POLL_MS);
    }
    return false;
  }

  /**
   * Waits until the Runtime API answers, then publishes `haproxy_started`. The answer must come from a current worker of
   * this master: the worker of an earlier master may still run.
   */
  async #waitUntilReady(haproxy: OsProcess, limitMs: number): Promise<void> {
    const deadline = performance.now() + limitMs;
    let reason = 'it does not answer';
    while (haproxy.alive && performance.now() < deadline && !this.#stopping.signal.aborted) {
      try {
        const { pid } = await this.runtime.info();
        const processes = await this.#masterCli.processes();
        if (processes?.master === haproxy.pid && processes.workers.includes(pid)) {
          this.feed.publish({ topic: 'haproxy_started', pid });
          return;
        }
        reason = processes
          ? 'another process answers on the Runtime API address'
          : `nothing listens on its master socket ${formatAddress(this.settings.master)}. If the socket file was deleted, run "haproxy-suite stop --all", which lets this HAProxy finish its connections, and start the suite again`;
      } catch (error) {
        reason = messageOf(error);
      }
      await delay(READY_POLL_MS);
    }
    this.#logTail?.flush();
    if (haproxy.alive)
      throw new AppError(
        'haproxy_unavailable',
        `HAProxy runs (pid ${haproxy.pid}) but is not ready: ${reason}`,
      );
    throw new AppError(
      'haproxy_unavailable',
      `HAProxy exited while it started. Its last messages are above and in ${this.settings.files.haproxyLog}.`,
    );
  }

  async #spawn(more: readonly string[]): Promise<LaunchedHaproxy> {
    const launched = await launchHaproxy(this.settings, more);
    // Written at once: if the suite is killed while HAProxy loads, the next suite finds HAProxy only through this file.
    this.#pidFile.write(launched.process);
    return launched;
  }

  /** `stop` ends the sleep early. */
  async #sleep(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
