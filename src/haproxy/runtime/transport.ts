import { connect, type Socket } from 'node:net';
import { formatHostPort } from '../../model/addresses/ip-address.js';
import { setTimeout as delay } from 'node:timers/promises';
import pLimit from 'p-limit';
import { IdleDeadline } from '../../lib/idle-deadline.js';
import { AppError, messageOf } from '../../errors/app-error.js';
import type { SocketAddress } from '../../settings/settings.js';
import type { Command } from './command.js';
import { parseReply, type Reply } from './reply.js';

interface TransportLimits {
  connectMs: number;
  /** The longest time without data while replies are missing. */
  idleMs: number;
  /** The longest time for a whole batch. */
  overallMs: number;
  /**
   * Added to `idleMs` and `overallMs` for each command, because HAProxy 3.4 runs up to 1,000 commands before its first
   * reply.
   */
  perCommandMs: number;
  /** The largest total size of the replies of a batch. `show map` of 100,000 names has 5 MB. */
  replyBytes: number;
  /** The largest size of one command with its payload: tune.bufsize of HAProxy (16,384 by default) minus a reserve. */
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

/** In interactive mode, HAProxy ends each reply with a line end and this prompt. No reply contains it. */
const PROMPT = '\n> ';
const PROMPT_BYTES = Buffer.from(PROMPT);
/** `prompt` selects interactive mode, `set severity-output number` adds severities. Both replies are empty. */
const PREAMBLE = 'prompt\nset severity-output number\n';
const PREAMBLE_REPLIES = 2;

/** The size of one write: large enough for few system calls, small enough that HAProxy starts early. */
const CHUNK_BYTES = 16 * 1024;

/** The idle limit grows only up to this number of commands. Otherwise a large batch would detect a hang too late. */
const MAX_COMMANDS_IN_IDLE_LIMIT = 3_000;

/**
 * The limit of connections at the same time. HAProxy serves ten by default ("stats maxconn") and queues ten more. Other
 * clients need some of them.
 */
const CONNECTIONS = 5;
/** The delay before the next attempt when the queue of the socket is full. */
const RETRY_MS = 5;

/**
 * Runs batches of commands on a Runtime API, each on its own connection. Commands are generated while HAProxy runs the
 * commands before them, and replies are read at the same time, so a batch of any length fits HAProxy's 16 KB buffers.
 *
 * A connection is not kept open: it would stay with the old worker after a reload, and commands would reach a process
 * that no longer serves. A new connection costs 0.2 ms.
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
   * Returns one reply for each command, in order. HAProxy runs all commands, also after a command that it rejects. If
   * `commands` throws, the batch ends with that error. The first `CHUNK_BYTES` of commands are generated before
   * anything is sent. After an error, HAProxy may have run some of the commands.
   *
   * @throws AppError haproxy_unavailable, payload_too_large
   */
  async run(commands: Iterable<Command>): Promise<Reply[]> {
    const sent: Command[] = [];
    const chunks = this.#chunks(commands, sent);
    const first = chunks.next();
    if (sent.length === 0) return [];
    const output = await this.#limitConnections(async () =>
      this.#exchange(await this.#connect(), first, chunks, sent),
    );
    const parts = output.split(PROMPT);
    if (parts.length !== PREAMBLE_REPLIES + sent.length + 1)
      throw this.#unavailable(
        `it closed the connection after ${Math.max(0, parts.length - 1 - PREAMBLE_REPLIES)} of ${sent.length} replies` +
          excerpt(parts.at(-1)),
      );
    return sent.map((command, index) =>
      parseReply(parts[PREAMBLE_REPLIES + index] ?? '', command.payload !== undefined),
    );
  }

  /** Generates the batch in chunks, and appends the commands of each chunk to `sent`. */
  *#chunks(commands: Iterable<Command>, sent: Command[]): Generator<string, void> {
    let text = PREAMBLE;
    for (const command of commands) {
      if (command.size > this.#limits.commandBytes)
        throw new AppError(
          'payload_too_large',
          `"${command.line.slice(0, 60)}" has ${command.size} bytes with its payload; HAProxy accepts at most ${this.#limits.commandBytes}.`,
        );
      sent.push(command);
      text += command.text;
      if (text.length < CHUNK_BYTES) continue;
      yield text;
      text = '';
    }
    yield `${text}quit\n`;
  }

  /** Retries while the queue of a unix socket is full (EAGAIN). Nothing is sent before the connection exists. */
  async #connect(): Promise<Socket> {
    const { connectMs } = this.#limits;
    const deadline = performance.now() + connectMs;
    for (;;) {
      const outcome = await connectWithin(this.address, deadline - performance.now());
      if (typeof outcome !== 'string') return outcome;
      if (outcome !== QUEUE_FULL) throw this.#unavailable(outcome);
      if (performance.now() > deadline)
        throw this.#unavailable(
          `other clients used all its connections for ${connectMs} ms (limit: "stats maxconn")`,
        );
      await delay(RETRY_MS);
    }
  }

  #exchange(
    socket: Socket,
    first: IteratorResult<string, void>,
    chunks: Generator<string, void>,
    sent: readonly Command[],
  ): Promise<string> {
    const limits = this.#limits;
    return new Promise((resolve, reject) => {
      const received: Buffer[] = [];
      let size = 0;
      const overall = new IdleDeadline(
        () => limits.overallMs + sent.length * limits.perCommandMs,
        (ms) => fail(`the batch took more than ${ms} ms`),
      );
      const idle = new IdleDeadline(
        () => limits.idleMs + Math.min(sent.length, MAX_COMMANDS_IN_IDLE_LIMIT) * limits.perCommandMs,
        (ms) => fail(`it sent nothing for ${ms} ms`),
      );
      const clearDeadlines = () => {
        overall.end();
        idle.end();
      };
      const failWith = (error: Error) => {
        clearDeadlines();
        socket.destroy();
        reject(error);
      };
      const fail = (reason: string) => failWith(this.#unavailable(reason));
      let next = first;
      /** Generates the next chunk while HAProxy works on the previous chunk, and waits while the socket is full. */
      const send = () => {
        try {
          while (!next.done) {
            const hasRoom = socket.write(next.value, 'latin1');
            idle.restart();
            next = chunks.next();
            if (hasRoom) continue;
            socket.once('drain', send);
            return;
          }
        } catch (error) {
          failWith(error instanceof Error ? error : new Error(String(error)));
        }
      };
      socket.on('data', (data) => {
        idle.restart();
        size += data.length;
        received.push(data);
        if (size > limits.replyBytes) fail(`it answered more than ${limits.replyBytes} bytes`);
        else if (
          received.length === 1 &&
          !PROMPT_BYTES.subarray(0, data.length).equals(data.subarray(0, PROMPT_BYTES.length))
        )
          fail(`the program that answers is not a Runtime API${excerpt(data.toString('latin1'))}`);
      });
      socket.on('error', (error: NodeJS.ErrnoException) => fail(connectionErrorText(error)));
      // After `quit`, HAProxy closes the connection when it has sent all replies.
      socket.on('close', () => {
        clearDeadlines();
        if (size === 0) fail('it closed the connection without an answer');
        else resolve(Buffer.concat(received).toString('utf8'));
      });
      send();
    });
  }

  #unavailable(reason: string): AppError {
    return new AppError(
      'haproxy_unavailable',
      `HAProxy does not answer on ${formatAddress(this.address)}: ${reason}. ` +
        'Check that HAProxy runs and that HAPROXY_SOCKET, or HAPROXY_HOST and HAPROXY_PORT, name its "stats socket". Then try again.',
    );
  }
}

/** The path of a unix socket, or host:port with an IPv6 host in brackets. */
export function formatAddress(address: SocketAddress): string {
  if ('path' in address) return address.path;
  return formatHostPort(address.host, address.port);
}

const QUEUE_FULL = 'its queue is full';

/** Resolves with the connected socket, or with the reason why there is no connection. */
function connectWithin(address: SocketAddress, ms: number): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket =
      'path' in address
        ? connect({ path: address.path })
        : connect({ host: address.host, port: address.port, noDelay: true });
    const settle = (outcome: Socket | string) => {
      deadline.end();
      socket.off('connect', connected).off('error', failed);
      if (typeof outcome === 'string') socket.on('error', () => undefined).destroy();
      resolve(outcome);
    };
    const connected = () => settle(socket);
    const failed = (error: NodeJS.ErrnoException) =>
      settle(error.code === 'EAGAIN' ? QUEUE_FULL : connectionErrorText(error));
    const deadline = new IdleDeadline(
      () => ms,
      (limit) => settle(`no connection within ${limit} ms`),
    );
    socket.on('connect', connected).on('error', failed);
  });
}

/** ` ("the first line of the text")`, or nothing for an empty text. */
function excerpt(text = ''): string {
  const line = text
    .trim()
    .split('\n', 1)[0]
    ?.replaceAll(/[^ -~]/g, '?')
    .slice(0, 160);
  return line ? ` (${JSON.stringify(line)})` : '';
}

function connectionErrorText(error: NodeJS.ErrnoException): string {
  // If a host name has several addresses, the error has one cause for each address.
  const first = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : error;
  switch (first.code) {
    case 'ECONNREFUSED':
      return 'the connection was refused (nothing listens there)';
    case 'ENOENT':
      return 'there is no such socket file';
    case 'EACCES':
      return 'this user is not allowed to open the socket';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'it closed the connection early';
    default:
      return messageOf(first);
  }
}
