import { execFile } from 'node:child_process';
import { Injectable } from '@nestjs/common';
import { AppError } from '../../errors/app-error.js';
import { SingleFlight } from '../../lib/single-flight.js';
import { Settings } from '../../settings/settings.js';
import { checkConfiguration, type CheckResult } from './haproxy-binary.js';
import { MasterCli, type ReloadResult } from './master-cli.js';

/** A command of podman or systemd; a check reads every certificate. */
const COMMAND_LIMIT_MS = 60_000;

/** How HAProxy is checked and reloaded, by who runs it (HAPROXY_CONTROL). */
interface Control {
  check(): Promise<CheckResult>;
  /** Success means that HAProxy was told; whether a new worker serves is for the caller to see. */
  reload(): Promise<ReloadResult>;
}

/** Checks the configuration and has it loaded again, whoever runs HAProxy. */
@Injectable()
export class HaproxyControlService implements Control {
  readonly #control: Control;
  /** A check is a process that reads every certificate: who may only read must not be able to start a hundred. */
  readonly #check = new SingleFlight(() => this.#control.check());

  constructor(settings: Settings) {
    const { config, pools } = settings.files;
    const files = [config, pools];
    const master = new MasterCli(settings.master);
    const check = () => checkConfiguration(settings.haproxyBin, files);
    const inContainer = [
      'exec',
      settings.container,
      'haproxy',
      '-c',
      ...files.flatMap((file) => ['-f', file]),
    ];
    const controls: Record<Settings['control'], Control> = {
      managed: { check, reload: () => master.reload() },
      master: { check, reload: () => master.reload() },
      systemd: { check, reload: () => tell('systemctl', ['reload', SYSTEMD_UNIT]) },
      podman: {
        check: async () => {
          const { success, log } = await tell('podman', inContainer);
          return { valid: success, output: log };
        },
        // The master reloads on SIGUSR2 (management guide, "Stopping and restarting HAProxy").
        reload: () => tell('podman', ['kill', '--signal', 'USR2', settings.container]),
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

const SYSTEMD_UNIT = 'haproxy.service';

/** @throws AppError haproxy_unavailable where the program cannot be run */
function tell(program: string, args: readonly string[]): Promise<ReloadResult> {
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
              `${program} could not be run (${error.message.split('\n', 1)[0]}). Install it, or set HAPROXY_CONTROL to ` +
                'the way HAProxy is run here: managed, master, systemd or podman.',
              { cause: error },
            ),
          );
      },
    );
  });
}
