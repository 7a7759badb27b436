import { execFile } from 'node:child_process';
import { Injectable } from '@nestjs/common';
import { AppError } from '../../errors/app-error.js';
import { SingleFlight } from '../../lib/single-flight.js';
import { Settings } from '../../settings/settings.js';
import { checkConfiguration, type CheckResult } from './haproxy-binary.js';
import { MasterCli, type ReloadResult } from './master-cli.js';

/** The limit for a command of podman or systemd. A check reads every certificate, which may take several seconds. */
const COMMAND_LIMIT_MS = 60_000;
const SYSTEMD_UNIT = 'haproxy.service';

/** Checks and reloads HAProxy in one of the modes of HAPROXY_CONTROL. */
interface Control {
  check(): Promise<CheckResult>;
  /** With systemd and podman, success only means that HAProxy got the signal, not that a new worker serves. */
  reload(): Promise<ReloadResult>;
}

/** Checks the configuration and reloads HAProxy, independent of the program that runs HAProxy. */
@Injectable()
export class HaproxyControlService implements Control {
  readonly #control: Control;
  /** Concurrent callers share one check, because each check starts a process that reads every certificate. */
  readonly #check = new SingleFlight(() => this.#control.check());

  constructor(settings: Settings) {
    const { config, pools } = settings.files;
    const files = [config, pools];
    const master = new MasterCli(settings.master);
    const check = () => checkConfiguration(settings.haproxyBin, files);
    const checkInContainer = [
      'exec',
      settings.container,
      'haproxy',
      '-c',
      ...files.flatMap((file) => ['-f', file]),
    ];
    const controls: Record<Settings['control'], Control> = {
      managed: { check, reload: () => master.reload() },
      master: { check, reload: () => master.reload() },
      systemd: { check, reload: () => runProgram('systemctl', ['reload', SYSTEMD_UNIT]) },
      podman: {
        check: async () => {
          const { success, log } = await runProgram('podman', checkInContainer);
          return { valid: success, output: log };
        },
        // SIGUSR2 makes the master reload (management guide, "Stopping and restarting HAProxy").
        reload: () => runProgram('podman', ['kill', '--signal', 'USR2', settings.container]),
      },
    };
    this.#control = controls[settings.control];
  }

  check(): Promise<CheckResult> {
    return this.#check.run();
  }

  reload(): Promise<ReloadResult> {
    return this.#control.reload();
  }
}

/**
 * Runs a program and returns its output. Returns `success: false` if the program fails. Throws if the program is missing
 * or cannot run.
 *
 * @throws AppError haproxy_unavailable
 */
function runProgram(program: string, args: readonly string[]): Promise<ReloadResult> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      { timeout: COMMAND_LIMIT_MS, maxBuffer: 8 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const log = `${stderr}${stdout}`.trim();
        if (!error || typeof error.code === 'number') resolve({ success: !error, log });
        else
          reject(
            new AppError(
              'haproxy_unavailable',
              `The suite could not run ${program} (${error.message.split('\n', 1)[0]}). Install it, or set HAPROXY_CONTROL to ` +
                'the mode that fits this installation: managed, master, systemd or podman.',
              { cause: error },
            ),
          );
      },
    );
  });
}
