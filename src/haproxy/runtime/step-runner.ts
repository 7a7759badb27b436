import { AppError } from '../../errors/app-error.js';
import { canonicalIp } from '../../model/addresses/ip-address.js';
import { serverName } from '../../model/names/pool-name.js';
import type { SentStep } from '../../model/routing.js';
import { parseInfo } from '../parsers/info.parser.js';
import { parseServersState, type ServerStateRow } from '../parsers/server-state.parser.js';
import { type Command, runtimeCommand } from './command.js';
import type { ProcessIdentity } from './process-identity.js';
import type { RecentAddresses } from './recent-addresses.js';
import { isRejected } from './reply.js';
import type { RuntimeClient } from './runtime-client.js';
import {
  type AddressChange,
  commandBatches,
  deletePool,
  deleteServer,
  type KeywordsOf,
  NO_SUCH_BACKEND,
  publishPool,
  showServersState,
  type Slot,
  type StepCommand,
} from './step-commands.js';

/** The longest time until HAProxy shows a new address. HAProxy normally needs less than a millisecond. */
const ADDRESS_CHANGE_LIMIT_MS = 2_000;
/** How long HAProxy may take to close idle connections to a server in maintenance. It normally needs a few milliseconds. */
const IDLE_CLOSE_MS = 50;

/** The result of a plan: the deletions that HAProxy postponed, and the processes that ran the plan. */
export interface ApplyResult {
  /** Deleted servers that stay in maintenance ("parked") until their last connection ends. */
  parked: Slot[];
  /** Deleted pools that stay, without traffic, because they are still in use. */
  keptPools: string[];
  /** The servers of the pools that servers joined with `checkFirst`, as they are after the steps. */
  servers: ServerStateRow[];
  /** The processes that ran the commands. There are several if HAProxy was restarted or reloaded meanwhile. */
  processes: ProcessIdentity[];
}

/** Runs the steps of a plan, and waits until HAProxy shows new addresses. */
export class StepRunner {
  constructor(
    private readonly client: RuntimeClient,
    private readonly recent: RecentAddresses,
  ) {}

  /**
   * Runs the steps in their order, except that pools are removed last. `mapName` is the map as HAProxy names it.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async run(steps: readonly SentStep[], mapName: string, keywordsOf: KeywordsOf): Promise<ApplyResult> {
    const rejectedDeletions: Slot[] = [];
    const processes: ProcessIdentity[] = [];
    let servers: ServerStateRow[] = [];
    const others = steps.filter((step) => step.op !== 'remove_pool');
    const joined = others.flatMap((step) => ('checkFirst' in step && step.checkFirst ? [step.pool] : []));
    const questions = joined.length === 0 ? [] : showServersState([...new Set(joined)]);
    const batches = commandBatches(others, mapName, keywordsOf);
    for (const { commands, addressChanges } of batches) {
      const { sent, replies } = await this.client.send(withQuestions(commands, questions));
      processes.push(parseInfo(replies.at(-1)?.text ?? ''));
      servers = replies.slice(-1 - questions.length, -1).flatMap(({ text }) => parseServersState(text));
      for (const [index, { deletes }] of sent.entries()) {
        const reply = replies[index];
        if (deletes && reply && isRejected(reply)) rejectedDeletions.push(deletes);
      }
      if (addressChanges.length === 0) continue;
      this.recent.note(addressChanges);
      await this.#waitForAddresses(addressChanges);
    }
    // The pools come last: a server that HAProxy still has keeps its pool in use.
    const parked = await this.#retryDeletions(rejectedDeletions);
    const pools = steps.filter((step) => step.op === 'remove_pool').map(({ pool }) => pool);
    return { parked, keptPools: await this.#deletePools(pools), servers, processes };
  }

  /**
   * Returns the servers that HAProxy does not delete at the second attempt either. The second attempt is needed because
   * other threads close the idle connections of a server shortly after it goes into maintenance.
   */
  async #retryDeletions(slots: readonly Slot[]): Promise<Slot[]> {
    const [first] = slots;
    if (!first) return [];
    const replies = await this.client.run([
      { command: waitUntilRemovable(first, IDLE_CLOSE_MS), acceptedRejection: /./ },
      ...slots.map((slot) => deleteServer(slot)),
    ]);
    return slots.filter((_, index) => {
      const reply = replies[index + 1];
      return !reply || isRejected(reply);
    });
  }

  /** Returns the pools that HAProxy does not delete, and publishes them again, so that they can be used again. */
  async #deletePools(pools: readonly string[]): Promise<string[]> {
    if (pools.length === 0) return [];
    const commands = pools.map((pool) => deletePool(pool));
    const replies = await this.client.run(commands.flat());
    const commandsPerPool = replies.length / pools.length;
    const kept = pools.filter((_, index) => {
      const reply = replies[(index + 1) * commandsPerPool - 1];
      return reply !== undefined && isRejected(reply) && !NO_SUCH_BACKEND.test(reply.text);
    });
    if (kept.length > 0) await this.client.run(kept.map((pool) => publishPool(pool)));
    return kept;
  }

  async #waitForAddresses(expected: readonly AddressChange[]): Promise<void> {
    const deadline = performance.now() + ADDRESS_CHANGE_LIMIT_MS;
    const pools = [...new Set(expected.map(({ pool }) => pool))];
    // A task inside HAProxy changes the addresses. `wait` lets it run before the addresses are read.
    const commands = [runtimeCommand`wait 1ms`, ...showServersState(pools)];
    for (;;) {
      const texts = await this.client.query(commands);
      const rows = new Map<string, ServerStateRow>();
      for (const text of texts.slice(1)) for (const row of parseServersState(text)) rows.set(row.server, row);
      const missing = expected.find(({ pool, slot, server }) => {
        const row = rows.get(serverName(pool, slot));
        return !row || canonicalIp(row.address) !== server.ip || row.port !== server.http_port;
      });
      if (!missing) return;
      if (performance.now() > deadline)
        throw new AppError(
          'haproxy_rejected',
          `HAProxy accepted a new address for ${serverName(missing.pool, missing.slot)} but does not show it after ${ADDRESS_CHANGE_LIMIT_MS} ms. Try again.`,
        );
    }
  }
}

/** Appends `show info`, which identifies the process. A second connection could reach another worker. */
function* withQuestions(
  planned: Iterable<StepCommand>,
  questions: readonly Command[],
): Generator<StepCommand, void> {
  yield* planned;
  for (const command of questions) yield { command };
  yield { command: runtimeCommand`show info` };
}

/** HAProxy answers when it can delete the server, or after `ms` milliseconds. */
function waitUntilRemovable({ pool, slot }: Slot, ms: number): Command {
  return runtimeCommand`wait ${ms}ms srv-removable ${pool}/${serverName(pool, slot)}`;
}
