import { connect } from 'node:net';
import { IdleDeadline } from '../../lib/idle-deadline.js';
import { AppError } from '../../errors/app-error.js';
import type { SocketAddress } from '../../settings/settings.js';
import { unexpectedOutput } from '../parsers/parse-error.js';
import { type HaproxyProcesses, parseProcesses } from '../parsers/proc.parser.js';
import type { Command } from '../runtime/command.js';
import { formatAddress } from '../runtime/transport.js';

export interface ReloadResult {
  success: boolean;
  /** The output of HAProxy during the reload, with the errors and warnings about its configuration. */
  log: string;
}

/** HAProxy answers a reload when the new worker is ready. Many certificates take several seconds to load. */
const RELOAD_LIMIT_MS = 30_000;

/** The longest time without data while a worker answers. */
const WORKER_IDLE_MS = 1_000;
/** The answer of the master if the worker has ended. */
const NO_SUCH_WORKER = /^Can't find the target PID/m;
/** The answer of the master if it still lists a worker that has ended, or if the worker hangs and its queue is full. */
const NO_CONNECTION = /^Can't connect to the target CLI/m;

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

  /**
   * Runs commands that read in one worker, also in an old one, on one connection, and returns the text of each answer.
   * Undefined if there is no such worker any more.
   *
   * @throws AppError haproxy_unavailable: the worker sends nothing for a second, or ends while it answers
   */
  async ask(pid: number, commands: readonly Command[]): Promise<string[] | undefined> {
    const text = commands.map(({ line }) => `@!${pid} ${line}\n`).join('');
    const answer = await this.#send(text, WORKER_IDLE_MS, { endsInput: true });
    if (answer === undefined) throw this.#unavailable('nothing listens there');
    if (NO_SUCH_WORKER.test(answer)) return undefined;
    if (NO_CONNECTION.test(answer))
      throw this.#unavailable(`it cannot connect to worker ${pid}, which has ended or hangs`);
    // A worker ends each answer with an empty line.
    const answers = answer.split('\n\n');
    if (answers.pop() === '' && answers.length === commands.length) return answers;
    throw this.#unavailable(`worker ${pid} gave ${answers.length} of ${commands.length} answers`);
  }

  /** Sends `text` and returns the whole answer; undefined if nothing listens on the address. */
  #send(text: string, idleLimitMs: number, { endsInput = false } = {}): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.address);
      const chunks: Buffer[] = [];
      const deadline = new IdleDeadline(
        () => idleLimitMs,
        (limit) => {
          socket.destroy();
          reject(this.#unavailable(`no complete answer within ${limit} ms`));
        },
      );
      // Without more input, the master closes the connection after its last answer, also if it refused a command.
      socket.on('connect', () => (endsInput ? socket.end(text) : socket.write(text)));
      socket.on('data', (chunk) => {
        if (endsInput) deadline.restart();
        chunks.push(chunk);
      });
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
