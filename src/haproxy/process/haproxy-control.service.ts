import { existsSync, readFileSync } from 'node:fs';
import { Injectable } from '@nestjs/common';
import { AppError } from '../../errors/app-error.js';
import { SingleFlight } from '../../lib/single-flight.js';
import { Settings } from '../../settings/settings.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { checkConfiguration, type CheckResult, requireVersion } from './haproxy-binary.js';
import { HaproxyProcessService } from './haproxy-process.service.js';
import { MasterCli, type ReloadResult } from './master-cli.js';
import { ProgramFailure, runProgram } from './run-program.js';

const SYSTEMD_UNIT = 'haproxy.service';

/** Checks and reloads HAProxy in one of the modes of HAPROXY_CONTROL. */
interface Control {
  check(files: readonly string[]): Promise<CheckResult>;
  /** With systemd and podman, success only means that HAProxy got the signal, not that a new worker serves. */
  reload(): Promise<ReloadResult>;
}

/** Checks the configuration and reloads HAProxy, independent of the program that runs HAProxy. */
@Injectable()
export class HaproxyControlService {
  readonly #control: Control;
  /** Concurrent callers share one check, because each check starts a process that reads every certificate. */
  readonly #check = new SingleFlight(() => this.checkWith(this.settings.files.suite));

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
    private readonly haproxy: HaproxyProcessService,
  ) {
    const master = new MasterCli(settings.master);
    const check = (files: readonly string[]) => checkConfiguration(settings.haproxyBin, files);
    const controls: Record<Settings['control'], Control> = {
      managed: { check, reload: () => this.#reloadManaged(master) },
      master: { check, reload: () => master.reload() },
      systemd: { check, reload: () => runControlProgram('systemctl', ['reload', SYSTEMD_UNIT]) },
      podman: {
        check: async (files) => {
          const args = files.flatMap((file) => ['-f', file]);
          const command = ['exec', settings.container, 'haproxy', '-c', ...args];
          const { success, log } = await runControlProgram('podman', command);
          return { valid: success, output: log };
        },
        // SIGUSR2 makes the master reload (management guide, "Stopping and restarting HAProxy").
        reload: () => runControlProgram('podman', ['kill', '--signal', 'USR2', settings.container]),
      },
    };
    this.#control = controls[settings.control];
  }

  check(): Promise<CheckResult> {
    return this.#check.run();
  }

  /** Checks the files with another file in the place of suite.cfg. */
  async checkWith(suiteFile: string): Promise<CheckResult> {
    return this.#control.check(await this.#filesToCheck(suiteFile));
  }

  reload(): Promise<ReloadResult> {
    return this.#control.reload();
  }

  /**
   * The files that the next reload or start reads. A HAProxy that the suite did not start may have been started without
   * suite.cfg, and then reloads without it.
   */
  async #filesToCheck(suiteFile: string): Promise<string[]> {
    const { config, pools } = this.settings.files;
    if (!existsSync(suiteFile)) return [config, pools];
    if (this.settings.control === 'managed') return [suiteFile, config, pools];
    const isLoaded = await this.runtime.loadedRules().then(
      (rules) => rules !== undefined,
      () => usesSuiteFile(config),
    );
    return isLoaded ? [suiteFile, config, pools] : [config, pools];
  }

  /**
   * A reload reads the files that the master was started with, and starts the program of the master again. Only a new
   * master reads a third file, or starts another version (HAPROXY_BIN). A master whose socket file was deleted cannot be
   * asked to reload, so a new master replaces it too.
   */
  async #reloadManaged(master: MasterCli): Promise<ReloadResult> {
    const lacksFile =
      existsSync(this.settings.files.suite) && (await this.runtime.loadedRules()) === undefined;
    const needsMaster =
      lacksFile || (await this.#hasOtherVersion()) || (await master.processes()) === undefined;
    return needsMaster ? this.haproxy.takeOver() : master.reload();
  }

  async #hasOtherVersion(): Promise<boolean> {
    const [{ text }, { version }] = await Promise.all([
      requireVersion(this.settings.haproxyBin),
      this.runtime.info(),
    ]);
    return text !== version;
  }
}

/** While HAProxy does not answer: whether haproxy.cfg needs suite.cfg, so that a start must read it. */
function usesSuiteFile(config: string): boolean {
  try {
    return /\bfrom\s+suite_/.test(readFileSync(config, 'utf8'));
  } catch {
    return true;
  }
}

/**
 * Runs a program that controls HAProxy. Returns `success: false` if the program says that it failed.
 *
 * @throws AppError haproxy_unavailable if the program is missing, cannot run or hangs
 */
async function runControlProgram(program: string, args: readonly string[]): Promise<ReloadResult> {
  try {
    const { success, output } = await runProgram(program, args);
    return { success, log: output.trim() };
  } catch (error) {
    if (!(error instanceof ProgramFailure)) throw error;
    const isThere = error.reason === 'timeout' || error.reason === 'ended';
    const advice = isThere
      ? `It is not known whether HAProxy did what was asked. Run the command by hand to see what it waits for, correct that, and try again.`
      : `Install ${program}, or set HAPROXY_CONTROL to the mode that fits this installation: managed, master, systemd or podman.`;
    throw new AppError('haproxy_unavailable', `${error.message} ${advice}`, { cause: error });
  }
}
