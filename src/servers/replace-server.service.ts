import { Injectable } from '@nestjs/common';
import { shownOf } from '../contract/dry-run/dry-run.dto.js';
import { recordDomains, recordStage } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { JobsService } from '../jobs/jobs.service.js';
import type { JobContext, RunningJob } from '../jobs/running-job.js';
import { canonicalIp } from '../model/addresses/ip-address.js';
import { serverAddress } from '../model/server.js';
import { Draft } from '../model/draft.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import { type ReplacedServerDto, ReplaceResultDto, ReplaceServerDto } from './replace-server.dto.js';
import {
  addHelpers,
  drainOld,
  findMoves,
  formatGivenAddress,
  type GivenAddress,
  helpedPools,
  type Move,
  overlaps,
  parseGivenAddress,
  serversAt,
  takeSlots,
  undo,
} from './replace-server-rules.js';
import {
  formerOf,
  laterSteps,
  leftText,
  listed,
  oldServerText,
  oldServiceText,
  undoneText,
} from './replace-server-texts.js';
import { ReplaceServerWatch } from './replace-server-watch.js';
import { SERVERS_SHOWN } from './server-rules.js';

/** The errors of this operation itself. Those of a commit say nothing about the stages before it. */
const SAYS_WHAT_IS_LEFT: ReadonlySet<string> = new Set(['cancelled', 'server_not_healthy']);

/** How many domains of a server an answer names. */
const DOMAINS_SHOWN = 10;

interface Started {
  from: GivenAddress;
  to: GivenAddress;
  timeout: number;
  job: RunningJob<ReplaceResultDto>;
}

/** How often the servers of each pool had been declared. */
type Declarations = ReadonlyMap<string, number>;

interface Begun {
  left_out: string[];
  timeout: number;
  from: GivenAddress;
  to: GivenAddress;
  begun: Declarations;
}

/**
 * Moves everything from one server address to another. A slot cannot hold two servers, so the new server first serves
 * from a free slot (the helper) of each pool. When it is healthy there, the old one drains. When that is idle, the new
 * server gets its slot and leaves the helper, in one commit. Each stage is one commit for all pools, so a stop between
 * two of them leaves pools in which only healthy servers get requests, and the same call finishes. Whatever ends a call
 * early, its error or the record of its operation says what is left.
 */
@Injectable()
export class ReplaceServerService {
  readonly #watch: ReplaceServerWatch;
  /** The jobs that may run, by their key. */
  readonly #started = new Map<string, Started>();

  constructor(
    private readonly persistence: PersistenceService,
    private readonly jobs: JobsService,
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
    workers: HaproxyWorkers,
  ) {
    this.#watch = new ReplaceServerWatch(persistence, workers, runtime);
    jobs.describesLeft('replace_server', (given) =>
      this.#leftOf(addressOf(String(given['from'])), addressOf(String(given['to']))),
    );
  }

  @Operation({
    name: 'haproxy_replace_server',
    wanted: { status: ['replaced', 'planned'] },
    title: 'Replace a server in all pools',
    description:
      'Moves everything from one address to another, in every pool, with slot, weight and state. The new server ' +
      'must pass its health checks before the old one drains; if it does not, the old one stays in service. Takes ' +
      'seconds to minutes and reports progress. dry_run shows all pools.',
    output: ReplaceResultDto,
    destructive: true,
    idempotent: true,
    runsAsJob: true,
    errors: [
      'server_not_found',
      'server_not_healthy',
      'pool_full',
      'server_is_control',
      'server_is_haproxy',
      'replace_running',
      'cancelled',
    ],
  })
  replace(input: ReplaceServerDto): Promise<ReplaceResultDto> {
    return input.dry_run ? this.#preview(input) : this.start(input).wait();
  }

  /**
   * Checks what a start checks first, so that a request that can only fail gets its error at once. Changes nothing.
   *
   * @throws AppError server_not_found, validation_failed, pool_full, server_not_healthy, replace_running
   */
  async check({ from, to, timeout }: ReplaceServerDto): Promise<void> {
    this.#refuseOther(from, to, timeout);
    await this.#checkAllStages(addressOf(from), addressOf(to));
  }

  /** Joins the running job with the same addresses and timeout. @throws AppError replace_running, shutting_down */
  start({ from, to, timeout }: ReplaceServerDto): RunningJob<ReplaceResultDto> {
    const key = keyOf(from, to);
    this.#refuseOther(from, to, timeout);
    const job = this.jobs.start({ kind: 'replace_server', key, given: { from, to, timeout } }, (context) =>
      this.#replace(addressOf(from), addressOf(to), timeout, context),
    );
    this.#started.set(key, { from: addressOf(from), to: addressOf(to), timeout, job });
    return job;
  }

  /**
   * Two jobs with a common address would take each other's helper slots. A running job keeps its timeout.
   *
   * @throws AppError replace_running
   */
  #refuseOther(from: string, to: string, timeout: number): void {
    for (const [key, { job }] of this.#started)
      if (job.record.status !== 'running') this.#started.delete(key);
    const given = [addressOf(from), addressOf(to)];
    for (const [key, started] of this.#started) {
      const isSame = key === keyOf(from, to) && !started.job.signal.aborted;
      if (isSame && timeout === started.timeout) continue;
      const used = [started.from, started.to];
      if (!given.some((one) => used.some((other) => overlaps(one, other)))) continue;
      const running = `${formatGivenAddress(started.from)} is being replaced by ${formatGivenAddress(started.to)}`;
      throw new AppError(
        'replace_running',
        isSame
          ? `${running} with timeout ${started.timeout}, which cannot be changed. This call changed nothing. Call again ` +
              'with that timeout to get the result of the operation, or wait until it has ended (see {haproxy_list_operations}).'
          : `${running}. This call changed nothing. Wait until that operation has ended (see {haproxy_list_operations}), ` +
              'then call again.',
      );
    }
  }

  /** The steps of all stages. Checks the first one, which adds the new server, as a real call does. */
  async #preview({ from, to, timeout }: ReplaceServerDto): Promise<ReplaceResultDto> {
    this.#refuseOther(from, to, timeout);
    const left_out = await this.#externalPools(addressOf(from));
    await this.#checkAllStages(addressOf(from), addressOf(to));
    const { value: moves, plan } = await this.persistence.preview((draft) =>
      this.#begin(draft, addressOf(from), addressOf(to)),
    );
    const steps = plan.filter(({ target }) => target === 'haproxy');
    const files = plan.filter(({ target }) => target === 'file');
    return {
      status: 'planned',
      detail:
        `${moves.length} server(s) change from ${from} to ${to}. The new server must be healthy before the old one ` +
        'drains. This was a dry run: nothing was changed.',
      ...this.#described(moves),
      left_out,
      dry_run: true,
      before: formerOf(moves),
      ...shownOf([...steps, ...laterSteps(moves), ...files]),
    };
  }

  async #replace(
    from: GivenAddress,
    to: GivenAddress,
    timeout: number,
    job: JobContext,
  ): Promise<ReplaceResultDto> {
    const left_out = await this.#externalPools(from);
    await this.#checkAllStages(from, to);
    const begun = new Map<string, number>();
    const moves = await this.#stage('the new server joins the pools', (draft) => {
      const found = this.#begin(draft, from, to);
      begun.clear();
      for (const { pool } of found) begun.set(pool, this.persistence.declarations(pool));
      recordDomains(found.flatMap(({ pool }) => draft.pool(pool)?.domains ?? []));
      return found;
    });
    try {
      return await this.#finish(moves, { left_out, timeout, from, to, begun }, job);
    } catch (error) {
      if (!(error instanceof AppError) || SAYS_WHAT_IS_LEFT.has(error.code)) throw error;
      // HAProxy or the disk refused one stage. Those before it stay.
      throw new AppError(error.code, `${error.detail} ${this.#leftOf(from, to)}`);
    }
  }

  /** The stages after the new server has joined the pools. */
  async #finish(
    moves: readonly Move[],
    { left_out, timeout, from, to, begun }: Begun,
    job: JobContext,
  ): Promise<ReplaceResultDto> {
    const answer = { ...this.#described(moves), left_out, before: formerOf(moves) };
    const problem = await this.#watch.untilHealthy(moves, timeout, job);
    const giveUp = (given: readonly Move[], why?: string) => this.#giveUp(given, { from, begun }, why);
    if (job.signal.aborted) throw await giveUp(moves);
    if (problem !== undefined) throw await giveUp(moves, problem);
    const drained = await this.#stage('the old server drains', (draft) => drainOld(draft, moves));
    const { waitsFor, busy } = await this.#watch.untilIdle(drained, timeout, job);
    const health = await this.#watch.health(drained).catch((error: unknown) => messageOf(error));
    if (typeof health === 'string')
      return {
        status: 'draining',
        detail:
          `HAProxy does not show whether the new server serves: ${health} Keep both servers running. Call again to ` +
          'finish when HAProxy answers.',
        ...answer,
      };
    if (health.failing !== undefined) throw await giveUp(drained, health.failing);
    if (job.signal.aborted)
      throw new AppError(
        'cancelled',
        `The call was cancelled, or the suite is stopping, while the old server drained. ${this.#leftOf(from, to)} ` +
          (await this.#oldServerText(from, moves)),
      );
    if (busy)
      return {
        status: 'draining',
        detail:
          `The old server is not idle: ${waitsFor ?? ''} Keep it running. ` +
          (serversAt(this.persistence.state, from).length > 0
            ? 'Call again to finish, or take it away now with {haproxy_remove_server}.'
            : 'Another call has removed it meanwhile, so there is nothing to finish. See the servers with {haproxy_list_servers}.'),
        ...answer,
      };
    const notTaken = await this.#stage('the new server takes the slots of the old one', (draft) =>
      takeSlots(draft, drained),
    );
    const old = await this.#oldServerText(from, moves);
    if (notTaken.length > 0)
      return {
        status: 'draining',
        detail:
          `The new server has ${moves.length - notTaken.length} of ${moves.length} slots of the old one. The other servers ` +
          `were changed meanwhile: ${listed(notTaken, ' ')}${await this.#unservedText(moves)} ${old} See the servers with ` +
          '{haproxy_list_servers}. ' +
          (serversAt(this.persistence.state, from).length > 0
            ? 'Call again to finish, or remove those that you do not need with {haproxy_remove_server}.'
            : 'No pool has the old server, so there is nothing to finish.'),
        ...answer,
      };
    return {
      status: 'replaced',
      detail: `The new server has the slots of the old one in all pools. ${old}`,
      ...answer,
    };
  }

  /**
   * Undoes what this call did, so that the old server serves again. Returns the error for the caller.
   *
   * @param problem why the new server is not healthy; undefined if the call was cancelled
   */
  async #giveUp(
    moves: readonly Move[],
    { from, begun }: Pick<Begun, 'from' | 'begun'>,
    problem?: string,
  ): Promise<AppError> {
    const unserved = await this.#watch.unserved(moves).catch(() => new Set(helpedPools(moves)));
    const undone = await this.#stage('the replacement is undone', (draft) =>
      undo(draft, moves, unserved, this.#declaredSince(begun, draft)),
    );
    const service = await this.#watch
      .oldServer(from, moves)
      .then((view) => oldServiceText(moves, view))
      .catch((error: unknown) => ` Whether the old server gets requests is not known: ${messageOf(error)}`);
    const what = undoneText(moves, undone) + service + (await this.#unservedText(moves));
    return problem === undefined
      ? new AppError(
          'cancelled',
          `The call was cancelled, or the suite is stopping.${what} Call again to replace the server.`,
        )
      : new AppError(
          'server_not_healthy',
          `The new server is not healthy: ${problem}${what} Correct the new server or its health check, then call again.`,
        );
  }

  /** The pools whose servers another call has declared since. */
  #declaredSince(begun: Declarations, { base }: Draft): Set<string> {
    const changed = [...begun].filter(([pool, count]) => this.persistence.declarations(pool) > count);
    // The base has the edits before this one that are committed together with it.
    const together = base instanceof Draft ? base.declared : [];
    return new Set([...changed.map(([pool]) => pool), ...together]);
  }

  /** Commits one stage, and names it in the audit line. */
  async #stage<T>(stage: string, edit: (draft: Draft) => T): Promise<T> {
    recordStage(stage);
    const { value } = await this.persistence.commit(edit);
    recordStage(undefined);
    return value;
  }

  /**
   * Checks the servers of the last stage too, so that no call stops half-way at a server that is not allowed.
   *
   * @throws AppError server_is_control, server_is_haproxy, validation_failed, and those of the first stage
   */
  async #checkAllStages(from: GivenAddress, to: GivenAddress): Promise<void> {
    await this.persistence.preview((draft) =>
      takeSlots(draft, drainOld(draft, this.#begin(draft, from, to))),
    );
  }

  #leftOf(from: GivenAddress, to: GivenAddress): string {
    return leftText(this.persistence.state, from, to);
  }

  /** Whether the old server can be stopped, as HAProxy has it now. */
  async #oldServerText(from: GivenAddress, moves: readonly Move[]): Promise<string> {
    try {
      return oldServerText(await this.#watch.oldServer(from, moves));
    } catch (error) {
      return `Keep the old server running: whether HAProxy uses it is not known: ${messageOf(error)}`;
    }
  }

  /** A sentence about the pools that no server serves, with a space before it. Empty if there is none. */
  async #unservedText(moves: readonly Move[]): Promise<string> {
    try {
      const unserved = [...(await this.#watch.unserved(moves))];
      if (unserved.length === 0) return '';
      return ` No healthy server serves ${listed(unserved)} now. See {haproxy_get_server_health}.`;
    } catch (error) {
      return ` Whether a server serves each pool is not known: ${messageOf(error)} See {haproxy_get_server_health}.`;
    }
  }

  /** The first stage: the new server joins every pool. */
  #begin(draft: Draft, from: GivenAddress, to: GivenAddress): Move[] {
    return addHelpers(draft, findMoves(draft, from, to), this.settings.maxSlots);
  }

  /** The external pools that have a server of this address in HAProxy. */
  async #externalPools({ ip, http_port: port }: GivenAddress): Promise<string[]> {
    const external = [...this.persistence.state.externalPools];
    if (external.length === 0) return [];
    const rows = await this.runtime.serversOf(external);
    const found = rows.filter(
      (row) => canonicalIp(row.address) === ip && (port === undefined || row.port === port),
    );
    return [...new Set(found.map(({ backend }) => backend))].toSorted();
  }

  #described(moves: readonly Move[]): Pick<ReplaceResultDto, 'servers' | 'total'> {
    const { state } = this.persistence;
    const servers = moves
      .slice(0, SERVERS_SHOWN)
      .map(({ pool, slot, from, to, helper }): ReplacedServerDto => ({
        pool,
        slot,
        domains: (state.pool(pool)?.domains ?? []).slice(0, DOMAINS_SHOWN),
        from: serverAddress(from),
        to: serverAddress(to),
        ...(helper !== undefined && { helper_slot: helper }),
      }));
    return { servers, total: moves.length };
  }
}

/** The field accepts only addresses. */
function addressOf(text: string): GivenAddress {
  const address = parseGivenAddress(text);
  if (!address) throw new Error(`invariant: ${text} is an address`);
  return address;
}

function keyOf(from: string, to: string): string {
  return `${from} ${to}`;
}
