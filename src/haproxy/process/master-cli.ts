import { connect } from 'node:net';
import { IdleDeadline } from '../../lib/idle-deadline.js';
import { AppError } from '../../errors/app-error.js';
import type { SocketAddress } from '../../settings/settings.js';
import { unexpectedOutput } from '../parsers/parse-error.js';
import { formatAddress } from '../runtime/transport.js';

/** The pids of HAProxy. */
interface HaproxyProcesses {
  master: number;
  /** The current workers. Old workers, which only finish their connections, are not included. */
  workers: number[];
}

export interface ReloadResult {
  success: boolean;
  /** The output of HAProxy during the reload, with the errors and warnings about its configuration. */
  log: string;
}

/** HAProxy answers a reload when the new worker is ready. Many certificates take several seconds to load. */
const RELOAD_LIMIT_MS = 30_000;

/** A client for the master CLI (management guide, "Master CLI"). */
export class MasterCli {
  constructor(private readonly address: SocketAddress) {}

  /**
   * The processes of HAProxy; undefined if nothing listens on the address (no socket file, or the socket of a killed
   * HAProxy). Throws if the program that answers is not a master, or answers too late.
   *
   * @throws AppError haproxy_unavailable
   */
  async processes(timeLimitMs = 2_000): Promise<HaproxyProcesses | undefined> {
    // The master keeps the connection open until `quit`.
    const text = await this.#send('show proc;quit\n', timeLimitMs);
    return text === undefined ? undefined : parseProcesses(text);
  }

  /**
   * Reloads HAProxy. Returns `success: false` if HAProxy rejects the configuration.
   *
   * @throws AppError haproxy_unavailable
   */
  async reload(): Promise<ReloadResult> {
    const text = await this.#send('reload\n', RELOAD_LIMIT_MS);
    if (text === undefined) throw this.#unavailable('nothing listens there');
    const match = /^Success=(?<success>[01])\n(?:--\n)?(?<log>[\s\S]*)$/.exec(text);
    if (!match) throw unexpectedOutput('the result of a reload', text);
    return { success: match.groups?.['success'] === '1', log: (match.groups?.['log'] ?? '').trim() };
  }

  /** Sends `text` and returns the whole answer; undefined if nothing listens on the address. */
  #send(text: string, timeLimitMs: number): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.address);
      const chunks: Buffer[] = [];
      const deadline = new IdleDeadline(
        () => timeLimitMs,
        (limit) => {
          socket.destroy();
          reject(this.#unavailable(`no complete answer within ${limit} ms`));
        },
      );
      socket.on('connect', () => socket.write(text));
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', (error: NodeJS.ErrnoException) => {
        deadline.end();
        const { code } = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : error;
        if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(undefined);
        else reject(this.#unavailable(error.message));
      });
      socket.on('close', () => {
        deadline.end();
        resolve(Buffer.concat(chunks).toString('utf8'));
      });
    });
  }

  #unavailable(reason: string): AppError {
    return new AppError(
      'haproxy_unavailable',
      `The master process of HAProxy does not answer on ${formatAddress(this.address)}: ${reason}. Check that HAProxy runs with -W -S and that HAPROXY_MASTER_SOCKET names its socket.`,
    );
  }
}

/**
 * Parses `show proc`:
 *
 *   #<PID>          <type>          <reloads>       <uptime>        <version>
 *   5976            master          1 [failed: 0]   0d00h34m40s     3.2.26-1
 *   # workers
 *   26678           worker          0               0d00h00m02s     3.2.26-1
 *   # old workers
 *   5982            worker          1               0d00h34m40s     3.2.26-1
 *   # programs
 */
function parseProcesses(text: string): HaproxyProcesses {
  let section = '';
  let master: number | undefined;
  const workers: number[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('# ')) section = line.slice(2).trim();
    const match = /^(?<pid>\d+)\s+(?<type>master|worker)\s/.exec(line);
    if (match?.groups?.['type'] === 'master') master = Number(match.groups['pid']);
    else if (match && section === 'workers') workers.push(Number(match.groups?.['pid']));
  }
  if (master === undefined) throw unexpectedOutput('the output of "show proc"', text);
  return { master, workers };
}
