import { connect } from 'node:net';
import { IdleDeadline } from '../../lib/idle-deadline.js';
import { AppError } from '../../errors/app-error.js';
import type { SocketAddress } from '../../settings/settings.js';
import { notThis } from '../parsers/parse-error.js';
import { nameOf } from '../runtime/transport.js';

export interface HaproxyProcesses {
  master: number;
  /** Of the configuration that is served now; those of former ones, which finish their connections, are left out. */
  workers: number[];
}

export interface ReloadResult {
  success: boolean;
  /** What HAProxy said while it loaded: errors and warnings of the configuration. */
  log: string;
}

/** A reload answers when the new worker is ready, which may take a while with many certificates. */
const TIME_LIMIT_MS = 30_000;

/** The few commands of the master CLI that the suite needs (management guide, "Master CLI"). */
export class MasterCli {
  constructor(private readonly address: SocketAddress) {}

  /**
   * The processes; undefined where nothing listens on the address (no socket, or one left by a killed HAProxy).
   *
   * @throws AppError haproxy_unavailable when something answers that is no master, or nothing in time
   */
  async processes(timeLimitMs = 2_000): Promise<HaproxyProcesses | undefined> {
    // The master keeps a connection open until it is told to quit.
    const text = await this.#ask('show proc;quit\n', timeLimitMs);
    return text === undefined ? undefined : parseProcesses(text);
  }

  /** @throws AppError haproxy_unavailable when there is no master to ask */
  async reload(): Promise<ReloadResult> {
    const text = await this.#ask('reload\n', TIME_LIMIT_MS);
    if (text === undefined) throw this.#unavailable('nothing listens there');
    const match = /^Success=(?<success>[01])\n(?:--\n)?(?<log>[\s\S]*)$/.exec(text);
    if (!match) throw notThis('the result of a reload', text);
    return { success: match.groups?.['success'] === '1', log: (match.groups?.['log'] ?? '').trim() };
  }

  #ask(text: string, timeLimitMs: number): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.address);
      const chunks: Buffer[] = [];
      const patience = new IdleDeadline(
        () => timeLimitMs,
        (limit) => {
          socket.destroy();
          reject(this.#unavailable(`no whole answer within ${limit} ms`));
        },
      );
      socket.on('connect', () => socket.write(text));
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', (error: NodeJS.ErrnoException) => {
        patience.end();
        const { code } = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : error;
        if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(undefined);
        else reject(this.#unavailable(error.message));
      });
      socket.on('close', () => {
        patience.end();
        resolve(Buffer.concat(chunks).toString('utf8'));
      });
    });
  }

  #unavailable(reason: string): AppError {
    return new AppError(
      'haproxy_unavailable',
      `HAProxy's master does not answer on ${nameOf(this.address)}: ${reason}. See that HAProxy runs with -W -S and that HAPROXY_MASTER_SOCKET names its socket.`,
    );
  }
}

/**
 *   #<PID>          <type>          <reloads>       <uptime>        <version>
 *   5976            master          1 [failed: 0]   0d00h34m40s     3.2.26-1
 *   # workers
 *   26678           worker          0               0d00h00m02s     3.2.26-1
 *   # old workers
 *   5982            worker          1               0d00h34m40s     3.2.26-1
 *   # programs
 */
export function parseProcesses(text: string): HaproxyProcesses {
  let section = '';
  let master: number | undefined;
  const workers: number[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('# ')) section = line.slice(2).trim();
    const match = /^(?<pid>\d+)\s+(?<type>master|worker)\s/.exec(line);
    if (match?.groups?.['type'] === 'master') master = Number(match.groups['pid']);
    else if (match && section === 'workers') workers.push(Number(match.groups?.['pid']));
  }
  if (master === undefined) throw notThis('"show proc" of a master', text);
  return { master, workers };
}
