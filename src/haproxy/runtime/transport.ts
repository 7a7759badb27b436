import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import pLimit from 'p-limit';
import { IdleDeadline } from '../../lib/idle-deadline.js';
import { AppError, messageOf } from '../../errors/app-error.js';
import type { SocketAddress } from '../../settings/settings.js';
import type { Command } from './command.js';
import { parseReply, type Reply } from './reply.js';

export interface TransportLimits {
  connectMs: number;
  /** The longest silence while answers are owed. */
  idleMs: number;
  /** A whole batch. */
  overallMs: number;
  /** More of both for each command: HAProxy 3.4 carries out a thousand before it says the first word, and no more. */
  perCommandMs: number;
  /** All answers of a batch together; `show map` of 100,000 names is 5 MB. */
  replyBytes: number;
  /** One command with its payload: HAProxy's tune.bufsize (16,384 unless configured) less a reserve. */
  commandBytes: number;
}

export const TRANSPORT_LIMITS: Readonly<TransportLimits> = {
  connectMs: 2_000,
  idleMs: 5_000,
  overallMs: 60_000,
  perCommandMs: 5,
  replyBytes: 256 * 1024 * 1024,
  commandBytes: 15 * 1024,
};

/** In interactive mode HAProxy closes each answer with a line end and its prompt; no answer has it inside. */
const PROMPT = Buffer.from('\n> ');
/** `prompt` asks for that mode, and `set severity-output number` for levels; both are answered with nothing. */
const PREAMBLE = 'prompt\nset severity-output number\n';
const PREAMBLE_REPLIES = 2;

/** How much is made before it is written: enough for few system calls, and little enough that HAProxy begins soon. */
const PIECE_BYTES = 16 * 1024;

/** A silence may last as long as so many commands, however many there are: one that hangs is not waited for longer. */
const MOST_IN_SILENCE = 3_000;

/** HAProxy serves ten at once by default ("stats maxconn") and has no more than as many waiting; some are others'. */
const CONNECTIONS = 5;
/** Until the queue of a socket whose queue is full is tried again. */
const RETRY_MS = 5;

/**
 * Runs batches of commands on a Runtime API. A batch is one connection. Commands are made while HAProxy works on those
 * before them, and the answers are read meanwhile, so that a batch of any length passes through its 16 KB buffers.
 *
 * Each batch has a connection of its own on purpose: one kept open would pin the worker that a reload replaces, and
 * commands would go to a process that no longer serves. It costs 0.2 ms.
 */
export class RuntimeTransport {
  readonly #limits: TransportLimits;
  readonly #limitConnections = pLimit(CONNECTIONS);

  constructor(
    private readonly address: SocketAddress,
    limits: Partial<TransportLimits> = {},
  ) {
    this.#limits = { ...TRANSPORT_LIMITS, ...limits };
  }

  /**
   * One reply for each command, in order. HAProxy runs all of them, also after one that it refuses. What making a
   * command throws ends the batch; up to `PIECE_BYTES` of commands are made before the first is sent.
   *
   * @throws AppError haproxy_unavailable; commands may have been run all the same
   */
  async run(commands: Iterable<Command>): Promise<Reply[]> {
    const sent: Command[] = [];
    const pieces = this.#pieces(commands, sent);
    const first = pieces.next();
    if (sent.length === 0) return [];
    const answer = await this.#limitConnections(async () =>
      this.#exchange(await this.#connected(), first, pieces, sent),
    );
    const parts = answer.split('\n> ');
    if (parts.length !== PREAMBLE_REPLIES + sent.length + 1)
      throw this.#unavailable(
        `it closed the connection after ${Math.max(0, parts.length - 1 - PREAMBLE_REPLIES)} of ${sent.length} answers` +
          lastWords(parts.at(-1)),
      );
    return sent.map((command, index) =>
      parseReply(parts[PREAMBLE_REPLIES + index] ?? '', command.payload !== undefined),
    );
  }

  /** The batch in pieces, each made when it is asked for; `sent` says what they hold. */
  *#pieces(commands: Iterable<Command>, sent: Command[]): Generator<string, void> {
    let text = PREAMBLE;
    for (const command of commands) {
      if (command.size > this.#limits.commandBytes)
        throw new AppError(
          'payload_too_large',
          `"${command.line.slice(0, 60)}" with its payload is ${command.size} bytes; HAProxy takes at most ${this.#limits.commandBytes}.`,
        );
      sent.push(command);
      text += command.text;
      if (text.length < PIECE_BYTES) continue;
      yield text;
      text = '';
    }
    yield `${text}quit\n`;
  }

  /** For messages: the unix path, or host:port. */
  get name(): string {
    return nameOf(this.address);
  }

  /** A unix socket refuses (EAGAIN) while its queue is full; nothing has been sent then, so it is tried again. */
  async #connected(): Promise<Socket> {
    const { connectMs } = this.#limits;
    const until = performance.now() + connectMs;
    for (;;) {
      const outcome = await connectWithin(this.address, until - performance.now());
      if (typeof outcome !== 'string') return outcome;
      if (outcome !== QUEUE_FULL) throw this.#unavailable(outcome);
      if (performance.now() > until)
        throw this.#unavailable(`others have all its connections for ${connectMs} ms ("stats maxconn")`);
      await delay(RETRY_MS);
    }
  }

  #exchange(
    socket: Socket,
    first: IteratorResult<string, void>,
    pieces: Generator<string, void>,
    sent: readonly Command[],
  ): Promise<string> {
    const limits = this.#limits;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      const overall = new IdleDeadline(
        () => limits.overallMs + sent.length * limits.perCommandMs,
        (ms) => fail(`the batch took more than ${ms} ms`),
      );
      const silence = new IdleDeadline(
        () => limits.idleMs + Math.min(sent.length, MOST_IN_SILENCE) * limits.perCommandMs,
        (ms) => fail(`it said nothing for ${ms} ms`),
      );
      const stopWaiting = () => {
        overall.end();
        silence.end();
      };
      const end = (error: Error) => {
        stopWaiting();
        socket.destroy();
        reject(error);
      };
      const fail = (reason: string) => end(this.#unavailable(reason));
      let piece = first;
      /** The next piece is made while HAProxy has the one before; then it is waited until there is room for it. */
      const send = () => {
        try {
          while (!piece.done) {
            const room = socket.write(piece.value, 'latin1');
            silence.restart();
            piece = pieces.next();
            if (room) continue;
            socket.once('drain', send);
            return;
          }
        } catch (error) {
          end(error instanceof Error ? error : new Error(String(error)));
        }
      };
      socket.on('data', (chunk) => {
        silence.restart();
        size += chunk.length;
        chunks.push(chunk);
        if (size > limits.replyBytes) fail(`it answered more than ${limits.replyBytes} bytes`);
        else if (
          chunks.length === 1 &&
          !PROMPT.subarray(0, chunk.length).equals(chunk.subarray(0, PROMPT.length))
        )
          fail(`what answers there is not a Runtime API${lastWords(chunk.toString('latin1'))}`);
      });
      socket.on('error', (error: NodeJS.ErrnoException) => fail(reasonOf(error)));
      // `quit` makes HAProxy close when it has answered everything.
      socket.on('close', () => {
        stopWaiting();
        const answer = Buffer.concat(chunks).toString('utf8');
        if (size === 0) fail('it closed the connection without an answer');
        else resolve(answer);
      });
      send();
    });
  }

  #unavailable(reason: string): AppError {
    return new AppError(
      'haproxy_unavailable',
      `HAProxy does not answer on ${this.name}: ${reason}. ` +
        'See that HAProxy runs and that its "stats socket" is where HAPROXY_SOCKET or HAPROXY_HOST and HAPROXY_PORT say, then try again.',
    );
  }
}

export function nameOf(address: SocketAddress): string {
  if ('path' in address) return address.path;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

const QUEUE_FULL = 'its queue is full';

/** The socket, or why there is none. */
function connectWithin(address: SocketAddress, ms: number): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket =
      'path' in address
        ? connect({ path: address.path })
        : connect({ host: address.host, port: address.port, noDelay: true });
    const settle = (outcome: Socket | string) => {
      patience.end();
      socket.off('connect', connected).off('error', failed);
      if (typeof outcome === 'string') socket.on('error', () => undefined).destroy();
      resolve(outcome);
    };
    const connected = () => settle(socket);
    const failed = (error: NodeJS.ErrnoException) =>
      settle(error.code === 'EAGAIN' ? QUEUE_FULL : reasonOf(error));
    const patience = new IdleDeadline(
      () => ms,
      (limit) => settle(`no connection within ${limit} ms`),
    );
    socket.on('connect', connected).on('error', failed);
  });
}

function lastWords(text = ''): string {
  const words = text
    .trim()
    .split('\n', 1)[0]
    ?.replaceAll(/[^ -~]/g, '?')
    .slice(0, 160);
  return words ? ` (${JSON.stringify(words)})` : '';
}

function reasonOf(error: NodeJS.ErrnoException): string {
  // Connecting to a name with several addresses fails with one error for each of them.
  const first = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : error;
  switch (first.code) {
    case 'ECONNREFUSED':
      return 'the connection was refused (nothing listens there)';
    case 'ENOENT':
      return 'there is no such socket file';
    case 'EACCES':
      return 'this user may not open the socket';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'it closed the connection early';
    default:
      return messageOf(first);
  }
}
