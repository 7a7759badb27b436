import { existsSync, readFileSync } from 'node:fs';
import { Injectable } from '@nestjs/common';
import { AppError } from '../../errors/app-error.js';
import { SingleFlight } from '../../lib/single-flight.js';
import { Settings } from '../../settings/settings.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { CannotCheckError, checkConfiguration, type CheckResult, requireVersion } from './haproxy-binary.js';
import { HaproxyProcessService } from './haproxy-process.service.js';
import { MasterCli, type ReloadResult } from './master-cli.js';
import { areOfOtherNamespace } from './os-process.js';
import { ProgramFailure, runProgram } from './run-program.js';

const SYSTEMD_UNIT = 'haproxy.service';

/** Checks and reloads HAProxy in one of the modes of HAPROXY_CONTROL. */
interface Control {
  check(files: readonly string[]): Promise<CheckResult>;
  /**
   * With systemd and podman, success only means that HAProxy got the signal, not that a new worker serves. Failure means
   * that HAProxy refused, and serves as before. @throws AppError haproxy_unavailable if HAProxy was not asked
   */
  reload(): Promise<ReloadResult>;
}

/** Checks the configuration and reloads HAProxy, independent of the program that runs HAProxy. */
@Injectable()
export class HaproxyControlService {
  readonly #control: Control;
  /** Concurrent callers share one check, because each check starts a process that reads every certificate. */
  readonly #check = new SingleFlight(() => this.checkWith({}));

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
    private readonly haproxy: HaproxyProcessService,
  ) {
    const master = new MasterCli(settings.master);
    const check = (files: readonly string[]) => checkConfiguration(settings.haproxyBin, files);
    const controls: Record<Settings['control'], Control> = {
      managed: { check, reload: () => this.#reloadManaged(master) },
      master: {
        check: (files) => this.#checkBesideMaster(master, files),
        reload: () => master.reload(),
      },
      systemd: { check, reload: reloadUnit },
      podman: {
        check: (files) => checkInContainer(settings.container, files),
        reload: () => reloadContainer(settings.container),
      },
    };
    this.#control = controls[settings.control];
  }

  check(): Promise<CheckResult> {
    return this.#check.run();
  }

  /** Checks the files with other files in the place of suite.cfg or pools.cfg. */
  async checkWith(others: Partial<Record<'suite' | 'pools', string>>): Promise<CheckResult> {
    return this.#control.check(await this.#filesToCheck({ ...this.settings.files, ...others }));
  }

  reload(): Promise<ReloadResult> {
    return this.#control.reload();
  }

  /**
   * The files that the next reload or start reads. A HAProxy that the suite did not start may have been started without
   * suite.cfg, and then reloads without it.
   */
  async #filesToCheck({
    suite,
    config,
    pools,
  }: Record<'suite' | 'config' | 'pools', string>): Promise<string[]> {
    if (!existsSync(suite)) return [config, pools];
    if (this.settings.control === 'managed') return [suite, config, pools];
    const isLoaded = await this.runtime.loadedRules().then(
      (rules) => rules !== undefined,
      () => usesSuiteFile(config),
    );
    return isLoaded ? [suite, config, pools] : [config, pools];
  }

  /** @throws CannotCheckError if there is no HAProxy here that reads files as the running HAProxy does */
  async #checkBesideMaster(master: MasterCli, files: readonly string[]): Promise<CheckResult> {
    const { haproxyBin } = this.settings;
    const elsewhere = await this.#versionInOtherContainer(master);
    if (elsewhere !== undefined) {
      const here = await requireVersion(haproxyBin).catch(() => undefined);
      if (here?.text !== elsewhere)
        throw new CannotCheckError(
          `Nothing here can check the files without loading them: HAProxy ${elsewhere} runs in another container than the suite, and HAPROXY_BIN (${haproxyBin}) is ${here ? `HAProxy ${here.text}` : 'not there'}. ${CHECKED_AT_RELOAD}`,
          undefined,
        );
    }
    return checkConfiguration(haproxyBin, files).catch((error: unknown) => rejectCheck(error));
  }

  /** The version of the running HAProxy; undefined if it is not in another container, or not known. */
  async #versionInOtherContainer(master: MasterCli): Promise<string | undefined> {
    const [info, processes] = await Promise.all([
      this.runtime.info().catch(() => undefined),
      master.processes().catch(() => undefined),
    ]);
    if (!info || processes?.workers.includes(info.pid) !== true) return undefined;
    return areOfOtherNamespace({ master: processes.master, worker: info.pid }) ? info.version : undefined;
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

const CHECKED_AT_RELOAD =
  'HAProxy itself checks them at {haproxy_reload}, and keeps its present configuration if it refuses them.';

/** Without a HAProxy binary beside the suite, only the HAProxy that runs can read the files, at a reload. */
function rejectCheck(error: unknown): never {
  const { cause } = error as AppError;
  const isThere =
    cause instanceof ProgramFailure && cause.reason !== 'missing' && cause.reason !== 'cannot_run';
  if (!(cause instanceof ProgramFailure) || isThere) throw error;
  throw new CannotCheckError(
    `Nothing here can check the files without loading them: ${cause.message} ${CHECKED_AT_RELOAD} For a check without a reload, install HAProxy beside the suite and set HAPROXY_BIN.`,
    error,
  );
}

async function reloadUnit(): Promise<ReloadResult> {
  const reload = await runControlProgram('systemctl', ['reload', SYSTEMD_UNIT]);
  if (reload.success) return reload;
  // systemctl also fails if HAProxy refuses the files (ExecReload), and then HAProxy serves as before.
  const state = await runControlProgram('systemctl', ['is-active', SYSTEMD_UNIT]);
  if (state.success) return reload;
  throw new AppError(
    'haproxy_unavailable',
    `${SYSTEMD_UNIT} is not active (${lastLine(state.log)}), so it was not reloaded. Start it with "systemctl start ${SYSTEMD_UNIT}"; it reads the files then. ${lastLine(reload.log)}`,
  );
}

/** `haproxy -c` exits with 0 or 1. Podman has other exit codes for its own errors (podman-exec(1)), or prints `Error:`. */
async function checkInContainer(container: string, files: readonly string[]): Promise<CheckResult> {
  const args = ['exec', container, 'haproxy', '-c', ...files.flatMap((file) => ['-f', file])];
  const { success, exitCode, log } = await runControlProgram('podman', args);
  const isOfHaproxy = /^\[(?:ALERT|NOTICE|WARNING)\]/m.test(log);
  if (success || (exitCode === 1 && (isOfHaproxy || !/^Error: /m.test(log))))
    return { valid: success, output: log };
  throw containerError(container, 'check the configuration', log);
}

async function reloadContainer(container: string): Promise<ReloadResult> {
  // SIGUSR2 makes the master reload (management guide, "Stopping and restarting HAProxy").
  const result = await runControlProgram('podman', ['kill', '--signal', 'USR2', container]);
  if (!result.success) throw containerError(container, 'reload HAProxy', result.log);
  return result;
}

function containerError(container: string, task: string, log: string): AppError {
  return new AppError(
    'haproxy_unavailable',
    `Podman could not ${task}: ${lastLine(log)} Nothing was changed. "podman ps -a --filter name=${container}" shows whether the container ${container} runs; start it with "podman start ${container}" or "systemctl start" and its unit, or correct HAPROXY_CONTAINER.`,
  );
}

function lastLine(log: string): string {
  return log.split('\n').at(-1)?.trim() ?? '';
}

/**
 * Runs a program that controls HAProxy. Returns `success: false` if the program says that it failed.
 *
 * @throws AppError haproxy_unavailable if the program is missing, cannot run or hangs
 */
async function runControlProgram(
  program: string,
  args: readonly string[],
): Promise<ReloadResult & { exitCode: number }> {
  try {
    const { success, exitCode, output } = await runProgram(program, args);
    return { success, exitCode, log: output.trim() };
  } catch (error) {
    if (!(error instanceof ProgramFailure)) throw error;
    const isThere = error.reason === 'timeout' || error.reason === 'ended';
    const advice = isThere
      ? `It is not known whether HAProxy did what was asked. Run the command by hand to see what it waits for, correct that, and try again.`
      : `Install ${program}, or set HAPROXY_CONTROL to the mode that fits this installation: managed, master, systemd or podman.`;
    throw new AppError('haproxy_unavailable', `${error.message} ${advice}`, { cause: error });
  }
}
