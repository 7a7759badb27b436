import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { type PlanStepDto, shownOf } from '../contract/dry-run/dry-run.dto.js';
import { recordDomains } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { isUsed, type ServerStatusRow } from '../haproxy/runtime/server-status.js';
import { DrainWatch } from '../haproxy/workers/drain-watch.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { type JobContext, JobsService, type RunningJob } from '../jobs/jobs.service.js';
import { canonicalIp } from '../model/ip-address.js';
import { serverName } from '../model/pool-name.js';
import { serverAddress } from '../model/server.js';
import type { Draft } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { Settings } from '../settings/settings.js';
import { drainStatus, drainTargets } from './drain-rules.js';
import { type ReplacedServerDto, ReplaceResultDto, ReplaceServerDto } from './replace-server.dto.js';
import {
  addHelpers,
  drainOld,
  findMoves,
  formatGivenAddress,
  type GivenAddress,
  type Move,
  overlaps,
  parseGivenAddress,
  takeSlots,
  undo,
  type Undone,
} from './replace-server-rules.js';
import { SERVERS_SHOWN } from './server-rules.js';

/** The pause between two reads doubles from the first value to the second. A first check takes up to 2 s. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;
/** How many domains of a server an answer names. */
const DOMAINS_SHOWN = 10;
/** How many servers or pools a message names. */
const NAMED = 5;

/** What a look at HAProxy found: `waitsFor` is undefined when there is nothing left to wait for. */
interface Look {
  waitsFor: string | undefined;
  /** For the caller, who gets it when it changes. */
  progress?: string;
  /** Waiting longer does not help. */
  final?: boolean;
}

interface Started {
  from: GivenAddress;
  to: GivenAddress;
  job: RunningJob<ReplaceResultDto>;
}

/** The new server in its helper slots. */
interface Health {
  /** In how many its last check has not passed. */
  missing: number;
  text: string | undefined;
  failing: string | undefined;
  /** HAProxy does not check it in some, so that waiting does not help. */
  uncheckable: boolean;
}

/**
 * Moves everything from one server address to another. A slot cannot hold two servers, so the new server first serves
 * from a free slot (the helper) of each pool. When it is healthy there, the old one drains. When that is idle, the new
 * server gets its slot and leaves the helper, in one commit. Each stage is one commit for all pools, so a stop between
 * two of them leaves pools in which only healthy servers get requests, and the same call finishes.
 */
@Injectable()
export class ReplaceServerService {
  readonly #watch: DrainWatch;
  /** The jobs that may run, by their key. */
  readonly #started = new Map<string, Started>();

  constructor(
    private readonly persistence: PersistenceService,
    private readonly jobs: JobsService,
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
    private readonly workers: HaproxyWorkers,
  ) {
    this.#watch = new DrainWatch(runtime, workers);
  }

  @Operation({
    name: 'haproxy_replace_server',
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
  async check({ from, to }: ReplaceServerDto): Promise<void> {
    this.#refuseOther(from, to);
    await this.persistence.preview((draft) => this.#begin(draft, addressOf(from), addressOf(to)));
  }

  /** Joins the running job with the same addresses. @throws AppError replace_running, shutting_down */
  start({ from, to, timeout }: ReplaceServerDto): RunningJob<ReplaceResultDto> {
    const key = keyOf(from, to);
    this.#refuseOther(from, to);
    const job = this.jobs.start({ kind: 'replace_server', key, given: { from, to, timeout } }, (context) =>
      this.#replace(addressOf(from), addressOf(to), timeout, context),
    );
    this.#started.set(key, { from: addressOf(from), to: addressOf(to), job });
    return job;
  }

  /**
   * Two jobs with a common address would take each other's helper slots.
   *
   * @throws AppError replace_running
   */
  #refuseOther(from: string, to: string): void {
    for (const [key, { job }] of this.#started)
      if (job.record.status !== 'running') this.#started.delete(key);
    const given = [addressOf(from), addressOf(to)];
    for (const [key, started] of this.#started) {
      if (key === keyOf(from, to) && !started.job.signal.aborted) continue;
      const used = [started.from, started.to];
      if (!given.some((one) => used.some((other) => overlaps(one, other)))) continue;
      throw new AppError(
        'replace_running',
        `${formatGivenAddress(started.from)} is being replaced by ${formatGivenAddress(started.to)}. This call changed ` +
          'nothing. Wait until that operation has ended (see {haproxy_list_operations}), then call again.',
      );
    }
  }

  /** The steps of all stages. Checks the first one, which adds the new server, as a real call does. */
  async #preview({ from, to }: ReplaceServerDto): Promise<ReplaceResultDto> {
    this.#refuseOther(from, to);
    const left_out = await this.#externalPools(addressOf(from));
    const { value: moves, plan } = await this.persistence.preview((draft) =>
      this.#begin(draft, addressOf(from), addressOf(to)),
    );
    const steps = plan.filter(({ target }) => target === 'haproxy');
    const files = plan.filter(({ target }) => target === 'file');
    return {
      status: 'planned',
      detail:
        `${moves.length} server(s) change from ${from} to ${to}. The new server must be healthy before the old one ` +
        'drains. Call again without dry_run to do it.',
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
    const { value: moves } = await this.persistence.commit((draft) => {
      const found = this.#begin(draft, from, to);
      recordDomains(found.flatMap(({ pool }) => draft.pool(pool)?.domains ?? []));
      return found;
    });
    const answer = { ...this.#described(moves), left_out, before: formerOf(moves) };
    const problem = await this.#untilHealthy(moves, timeout, job);
    if (job.signal.aborted) throw await this.#giveUp(moves);
    if (problem !== undefined) throw await this.#giveUp(moves, problem);
    const { value: drained } = await this.persistence.commit((draft) => drainOld(draft, moves));
    const { waitsFor, busy } = await this.#untilIdle(drained, timeout, job);
    const unhealthy = (await this.#health(drained)).failing;
    if (unhealthy !== undefined) throw await this.#giveUp(drained, unhealthy);
    if (job.signal.aborted)
      throw new AppError(
        'cancelled',
        'The call was cancelled, or the suite is stopping, while the old server drained. The new server is in service ' +
          'where the old one was. Call again to finish.',
      );
    if (busy)
      return {
        status: 'draining',
        detail:
          `The new server is in service where the old one was. The old server is not idle: ${waitsFor ?? ''} ` +
          'Keep it running. Call again to finish, or take it away now with {haproxy_remove_server}.',
        ...answer,
      };
    const { value: left } = await this.persistence.commit((draft) => takeSlots(draft, drained));
    const open = waitsFor === undefined ? '' : ` ${waitsFor}`;
    if (left.length > 0)
      return {
        status: 'draining',
        detail:
          `The new server has ${moves.length - left.length} of ${moves.length} slots of the old one. The other servers ` +
          `were changed meanwhile: ${listed(left, ' ')}${await this.#unservedText(moves)} Keep the old server running.${open} ` +
          'See the servers with {haproxy_list_servers}. Call again to finish, or remove those that you do not need with ' +
          '{haproxy_remove_server}.',
        ...answer,
      };
    return {
      status: 'replaced',
      detail:
        'The new server has the slots of the old one in all pools. HAProxy no longer has the old one. ' +
        (waitsFor === undefined ? 'It is idle and can be stopped.' : `Keep it running: ${waitsFor}`),
      ...answer,
    };
  }

  /**
   * Undoes what this call did, so that the old server serves again. Returns the error for the caller.
   *
   * @param problem why the new server is not healthy; undefined if the call was cancelled
   */
  async #giveUp(moves: readonly Move[], problem?: string): Promise<AppError> {
    const unserved = await this.#unserved(moves).catch(() => new Set(helpedPools(moves)));
    const { value: undone } = await this.persistence.commit((draft) => undo(draft, moves, unserved));
    const what = undoneText(moves, undone) + (await this.#unservedText(moves));
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

  /**
   * The pools that the new server was to take over and in which HAProxy sends requests to no server, or only to a new
   * server with a failed check.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async #unserved(moves: readonly Move[]): Promise<Set<string>> {
    const unserved = new Set(helpedPools(moves));
    if (unserved.size === 0) return unserved;
    const helpers = new Set(helperNames(moves));
    for (const { pool, slot, status, weight } of await this.workers.serverStatuses([...unserved]))
      if (isUsed(status, weight) && !(status === 'checking' && helpers.has(serverName(pool, slot))))
        unserved.delete(pool);
    return unserved;
  }

  /** A sentence about the pools that no server serves, with a space before it. Empty if there is none. */
  async #unservedText(moves: readonly Move[]): Promise<string> {
    try {
      const unserved = [...(await this.#unserved(moves))];
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

  /** Waits until the new server has passed its checks in each helper slot. Returns what is wrong if it has not. */
  async #untilHealthy(moves: readonly Move[], timeout: number, job: JobContext): Promise<string | undefined> {
    const all = helperNames(moves).length;
    const { waitsFor } = await this.#poll(timeout, job, async () => {
      const { missing, text, uncheckable } = await this.#health(moves);
      return {
        waitsFor: text,
        final: uncheckable,
        progress: `The new server is healthy in ${all - missing} of ${all} pool(s)`,
      };
    });
    return waitsFor;
  }

  /**
   * What HAProxy has of the new server in its helper slots. `text` names those in which its last check did not pass,
   * `failing` those in which HAProxy sends it no requests.
   *
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async #health(moves: readonly Move[]): Promise<Health> {
    const wanted = helperNames(moves);
    if (wanted.length === 0) return { missing: 0, text: undefined, failing: undefined, uncheckable: false };
    const rows = await this.workers.serverStatuses(helpedPools(moves));
    const found = new Map(rows.map((row) => [serverName(row.pool, row.slot), row]));
    const missing = wanted.filter((name) => found.get(name)?.status !== 'UP');
    const failing = missing.filter((name) => {
      const row = found.get(name);
      return !row || !isUsed(row.status, row.weight);
    });
    const textOf = (names: readonly string[]) =>
      names.length === 0 ? undefined : `${listed(names.map((name) => healthText(name, found.get(name))))}.`;
    return {
      missing: missing.length,
      text: textOf(missing),
      failing: textOf(failing),
      uncheckable: missing.some((name) => found.get(name)?.status === 'no check'),
    };
  }

  /**
   * Waits until no worker has a connection to the old server. `busy`: the current worker has one, or may get one because
   * somebody has set the server to ready.
   */
  async #untilIdle(
    moves: readonly Move[],
    timeout: number,
    job: JobContext,
  ): Promise<{ waitsFor: string | undefined; busy: boolean }> {
    let busy = true;
    const { waitsFor } = await this.#poll(timeout, job, async () => {
      busy = true;
      const found = await Promise.all(
        moves.map(async ({ pool, slot, from }) => {
          const old = serverAddress(from);
          const view = await this.#watch.load(pool, [old]);
          const present = this.persistence.state.pool(pool);
          // Somebody can have given the slot to another server meanwhile.
          const targets = (present ? drainTargets(pool, present, slot, view) : []).filter(
            ({ address = old }) => address === old,
          );
          return { name: serverName(pool, slot), ...drainStatus(targets, pool, view) };
        }),
      );
      const open = found.reduce((sum, { current, old_workers }) => sum + current + old_workers, 0);
      busy = found.some(({ current, drained, final }) => current > 0 || (final === true && !drained));
      const reasons = found.flatMap(({ name, reason }) => (reason === undefined ? [] : `${name}: ${reason}`));
      return {
        waitsFor: reasons.length === 0 ? undefined : listed(reasons, ' '),
        final: found.every(({ final, drained }) => drained || final !== false),
        progress: `The old server drains: ${open} connection(s) left`,
      };
    });
    return { waitsFor, busy };
  }

  /** Looks until there is nothing to wait for, the time is over, or the job is cancelled. */
  async #poll(timeout: number, { signal, progress }: JobContext, look: () => Promise<Look>): Promise<Look> {
    const end = performance.now() + timeout * 1000;
    let told = '';
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      // HAProxy may be restarting.
      const found = await look().catch((error: unknown): Look => ({ waitsFor: messageOf(error) }));
      if (found.progress !== undefined && found.progress !== told) progress((told = found.progress));
      const remaining = end - performance.now();
      if (found.waitsFor === undefined || found.final || remaining <= 0 || signal.aborted) return found;
      await delay(Math.min(pause, remaining), undefined, { signal }).catch(() => undefined);
    }
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

function formerOf(moves: readonly Move[]): object {
  const servers = moves.slice(0, SERVERS_SHOWN).map(({ pool, slot, from }) => ({ pool, slot, ...from }));
  const left = moves.length - servers.length;
  return { domains: [], servers, ...(left > 0 && { more: left }) };
}

/** The steps after the new server is healthy. */
function laterSteps(moves: readonly Move[]): PlanStepDto[] {
  const helped = moves.filter(({ helper }) => helper !== undefined);
  return [
    ...helped
      .filter(({ from }) => from.state === 'ready')
      .map(({ pool, slot }) => laterStep('set_state', pool, slot, 'becomes drain')),
    ...moves.map(({ pool, slot, to }) =>
      laterStep('put_server', pool, slot, `becomes ${serverAddress(to)}, when it is idle`),
    ),
    ...helped.map(({ pool, helper }) =>
      laterStep('remove_server', pool, helper ?? 0, 'is removed, because the new server has its slot'),
    ),
  ];
}

function laterStep(action: PlanStepDto['action'], pool: string, slot: number, effect: string): PlanStepDto {
  const name = serverName(pool, slot);
  return { target: 'haproxy', action, name, text: `${name} ${effect}` };
}

/** The first of `texts`, and how many more there are. */
function listed(texts: readonly string[], separator = ', '): string {
  const rest = texts.length - NAMED;
  return texts.slice(0, NAMED).join(separator) + (rest > 0 ? ` and ${rest} more` : '');
}

function keyOf(from: string, to: string): string {
  return `${from} ${to}`;
}

function oldName({ pool, slot }: Move): string {
  return serverName(pool, slot);
}

/** The names of the servers in the helper slots. */
function helperNames(moves: readonly Move[]): string[] {
  return [
    ...new Set(moves.flatMap(({ pool, helper }) => (helper === undefined ? [] : serverName(pool, helper)))),
  ];
}

function helpedPools(moves: readonly Move[]): string[] {
  return [...new Set(moves.flatMap(({ pool, helper }) => (helper === undefined ? [] : pool)))];
}

function healthText(name: string, row: ServerStatusRow | undefined): string {
  if (!row) return `${name} is not in HAProxy`;
  if (row.status === 'no check') return `${name} has no health check`;
  return `${name} is ${row.status}${row.lastCheck === '' ? '' : ` (${row.lastCheck})`}`;
}

/** What the pools have after `undo`, as sentences with a space before each. */
function undoneText(moves: readonly Move[], { removed, kept, restored, out }: Undone): string {
  const before = helperNames(moves.filter(({ added }) => !added));
  const sentences = [
    removed.length > 0 && 'The new server was removed again from the slots that this call had added.',
    kept.length > 0 &&
      `The new server stays in ${listed(helperNames(kept))}, because the old one is not in service there.`,
    before.length > 0 && `The new server was in ${listed(before)} before this call and stays there.`,
    restored.length > 0 &&
      `The old server was in drain in ${listed(restored.map(oldName))} and is ready again there.`,
    out.length === 0
      ? 'The old server is still in service where it was before.'
      : `The old server gets no new requests in ${listed(out.map(oldName))}: see its state with {haproxy_list_servers}.`,
  ];
  return sentences.flatMap((sentence) => (sentence === false ? [] : ` ${sentence}`)).join('');
}
