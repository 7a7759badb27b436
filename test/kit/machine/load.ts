import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import type { Machine } from './machine.js';

export interface LoadReport {
  requests: number;
  failed: number;
  /** The first 10 failures as text, with milliseconds since the start. */
  failures: string[];
}

const SCRIPT = join(import.meta.dirname, 'load.mjs');

/**
 * A constant load on the ports 80 and, with `tls`, 443 of a machine, with kept and with new connections, by a process in its network.
 * A request fails unless its status is 200 and its body is `body`. The certificate may be of any issuer.
 */
export class MachineLoad {
  readonly #process;
  readonly #report: Promise<LoadReport>;

  constructor(machine: Machine, host: string, body: string, { rate = 100, tls = true } = {}) {
    const [command = '', ...args] = machine.inItsNetwork;
    this.#process = spawn(
      command,
      [...args, process.execPath, SCRIPT, host, body, String(rate), String(tls)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    this.#report = json(this.#process.stdout) as Promise<LoadReport>;
  }

  /** Stops sending, waits for the open requests, and returns the result. */
  async stop(): Promise<LoadReport> {
    this.#process.stdin.end();
    return this.#report;
  }
}
