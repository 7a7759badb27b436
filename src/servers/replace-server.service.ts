import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { type PlanStepDto, shownOf } from '../contract/dry-run/dry-run.dto.js';
import { recordDomains } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
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
import {
  addHelpers,
  drainOld,
  findMoves,
  type GivenAddress,
  type Move,
  parseGivenAddress,
  removeAdded,
  takeSlots,
} from './replace-rules.js';
import { type ReplacedServerDto, ReplaceResultDto, ReplaceServerDto } from './replace.dto.js';

/** The pause between two reads doubles from the first value to the second. A first check takes up to 2 s. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;
/** How many servers, and domains of each, an answer names. */
const SERVERS_SHOWN = 100;
const DOMAINS_SHOWN = 10;
/** How many servers a message names. */
const NAMED = 5;

/** What a look at HAProxy found: `waitsFor` is undefined when there is nothing left to wait for. */
interface Look {
  waitsFor: string | undefined;
  /** For the caller, who gets it when it changes. */
  progress?: string;
  /** Waiting longer does not help. */
  final?: boolean;
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
      'Moves everything from one server address to another, in every pool, with slot, weight and state. The new server ' +
      'must pass its health checks before the old one drains; if it does not, the old one stays in service. Takes ' +
      'seconds to minutes and reports progress. dry_run shows all pools.',
    output: ReplaceResultDto,
    destructive: true,
    idempotent: true,
    runsAsJob: true,
    errors: ['server_not_found', 'server_not_healthy', 'pool_full', 'server_is_control', 'server_is_haproxy'],
  })
  replace(input: ReplaceServerDto): Promise<ReplaceResultDto> {
    return input.dry_run ? this.#preview(input) : this.start(input).wait();
  }

  start({ from, to, timeout }: ReplaceServerDto): RunningJob<ReplaceResultDto> {
    return this.jobs.start(
      { kind: 'replace_server', key: `${from} ${to}`, given: { from, to, timeout } },
      (job) => this.#replace(addressOf(from), addressOf(to), timeout, job),
    );
  }

  /** The steps of all stages. Checks the first one, which adds the new server, as a real call does. */
  async #preview({ from, to }: ReplaceServerDto): Promise<ReplaceResultDto> {
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
    if (problem !== undefined) {
      await this.persistence.commit((draft) => removeAdded(draft, moves));
      throw new AppError(
        'server_not_healthy',
        `The new server is not healthy: ${problem} It was removed again, and the old server is still in service in all ` +
          'pools. Correct the new server and try again.',
      );
    }
    await this.persistence.commit((draft) => drainOld(draft, moves));
    const { waitsFor, busy } = await this.#untilIdle(moves, timeout, job);
    if (busy)
      return {
        status: 'draining',
        detail:
          `The new server serves all pools. The old server gets no new requests, but is not idle: ${waitsFor ?? ''} ` +
          'Keep it running. Call again to finish, or take it away now with haproxy_remove_server.',
        ...answer,
      };
    await this.persistence.commit((draft) => takeSlots(draft, moves));
    const open = waitsFor === undefined ? 'It is idle and can be stopped.' : `Keep it running: ${waitsFor}`;
    return {
      status: 'replaced',
      detail: `The new server has the slots of the old one in all pools. HAProxy no longer has the old one. ${open}`,
      ...answer,
    };
  }

  /** The first stage: the new server joins every pool. */
  #begin(draft: Draft, from: GivenAddress, to: GivenAddress): Move[] {
    return addHelpers(draft, findMoves(draft, from, to), this.settings.maxSlots);
  }

  /** Waits until the new server has passed its checks in each helper slot. Returns what is wrong if it does not. */
  async #untilHealthy(moves: readonly Move[], timeout: number, job: JobContext): Promise<string | undefined> {
    const helpers = moves.flatMap(({ pool, helper }) =>
      helper === undefined ? [] : [{ pool, name: serverName(pool, helper) }],
    );
    if (helpers.length === 0) return undefined;
    const pools = [...new Set(helpers.map(({ pool }) => pool))];
    const wanted = [...new Set(helpers.map(({ name }) => name))];
    const { waitsFor } = await this.#poll(timeout, job, async () => {
      const rows = await this.workers.serverStatuses(pools);
      const status = new Map(rows.map((row) => [serverName(row.pool, row.slot), row]));
      const missing = wanted.filter((name) => status.get(name)?.status !== 'UP');
      job.progress(
        `The new server is healthy in ${wanted.length - missing.length} of ${wanted.length} pool(s)`,
      );
      const named = missing.slice(0, NAMED).map((name) => {
        const { status: found = 'unknown', lastCheck = '' } = status.get(name) ?? {};
        return `${name} is ${found}${lastCheck === '' ? '' : ` (${lastCheck})`}`;
      });
      const uncheckable = missing.some((name) => status.get(name)?.status === 'no check');
      return {
        waitsFor: missing.length === 0 ? undefined : `${named.join(', ')}${more(missing.length)}.`,
        final: uncheckable,
        progress: `The new server is healthy in ${wanted.length - missing.length} of ${wanted.length} pool(s)`,
      };
    });
    return waitsFor;
  }

  /** Waits until no worker has a connection to the old server. `busy`: the current worker still has one. */
  async #untilIdle(
    moves: readonly Move[],
    timeout: number,
    job: JobContext,
  ): Promise<{ waitsFor: string | undefined; busy: boolean }> {
    let busy = true;
    const { waitsFor } = await this.#poll(timeout, job, async () => {
      const found = await Promise.all(
        moves.map(async ({ pool, slot, from }) => {
          const view = await this.#watch.load(pool, [serverAddress(from)]);
          const present = this.persistence.state.pool(pool);
          return drainStatus(present ? drainTargets(pool, present, slot, view) : [], pool, view);
        }),
      );
      const open = found.reduce((sum, { current, old_workers }) => sum + current + old_workers, 0);
      busy = found.some(({ current }) => current > 0);
      const reasons = [...new Set(found.flatMap(({ reason }) => reason ?? []))];
      return {
        waitsFor:
          reasons.length === 0 ? undefined : `${reasons.slice(0, NAMED).join(' ')}${more(reasons.length)}`,
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

function more(count: number): string {
  return count > NAMED ? ` and ${count - NAMED} more` : '';
}
