import { metrics } from '../../lib/metrics.js';
import type { SocketAddress } from '../../settings/settings.js';
import type { Command } from './command.js';
import { checkReplies, type PlannedCommand, type Reply } from './reply.js';
import { RuntimeTransport } from './transport.js';

/** Runs commands of the Runtime API, and turns a rejection into an error. Each call opens its own connection. */
export class RuntimeClient {
  readonly #transport: RuntimeTransport;

  constructor(address: SocketAddress) {
    this.#transport = new RuntimeTransport(address);
  }

  /**
   * Runs commands that HAProxy must not reject, and returns the text of each reply.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async query(commands: readonly Command[]): Promise<string[]> {
    const replies = await this.run(commands.map((command) => ({ command })));
    return replies.map((reply) => reply.text);
  }

  /** @throws AppError haproxy_rejected, haproxy_unavailable */
  async run(planned: readonly PlannedCommand[]): Promise<Reply[]> {
    return (await this.send(planned)).replies;
  }

  /**
   * Runs the commands on one connection and checks every reply. The commands are generated while they are sent.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async send<T extends PlannedCommand>(planned: Iterable<T>): Promise<{ sent: T[]; replies: Reply[] }> {
    const sent: T[] = [];
    try {
      const replies = await this.#transport.run(collect(planned, sent));
      checkReplies(sent, replies);
      return { sent, replies };
    } catch (error) {
      metrics.runtimeError(error);
      throw error;
    }
  }
}

/** Generates the commands, and appends each planned command to `sent`. */
function* collect<T extends PlannedCommand>(planned: Iterable<T>, sent: T[]): Generator<Command, void> {
  for (const step of planned) {
    sent.push(step);
    yield step.command;
  }
}
