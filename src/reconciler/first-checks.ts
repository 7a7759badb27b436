import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { ApplyResult } from '../haproxy/runtime/step-runner.js';
import type { ServerStateRow } from '../haproxy/parsers/server-state.parser.js';
import type { Slot } from '../haproxy/runtime/step-commands.js';
import { canonicalIp } from '../model/addresses/ip-address.js';
import { serverName } from '../model/names/pool-name.js';
import type { SentStep, Step } from '../model/routing.js';

/** srv_check_result of a server whose last check failed (include/haproxy/check-t.h). */
const FAILED = 2;
/** The first check of a server that joins ends 1 to 2 s later (`inter 2s`), so an earlier result is from before. */
const FIRST_CHECK_MS = 1_000;
/** Two checks (`rise 2`) take 4 s on a machine that is not busy. */
const AWAITED_MS = 30_000;

type Runtime = Pick<HaproxyRuntimeService, 'serversOf'>;

interface Awaited extends Slot {
  since: number;
}

/**
 * Servers that join a pool get their first request after a passed check (`checkFirst` of a step), but only while another
 * server of the pool is UP in HAProxy. Otherwise the pool would answer 503 although the new server may be able to answer.
 * A server that only changes its slot does not wait: HAProxy has checked its address in the other slot.
 */
export class FirstChecks {
  /** Servers that joined with `checkFirst`, by name. */
  readonly #awaited = new Map<string, Awaited>();

  constructor(private readonly runtime: Runtime) {}

  /**
   * The steps to send instead of `steps`. Asks HAProxy only if the steps take a server away from a pool that another
   * server joins, or joined a moment ago.
   *
   * @param unchecked names of servers without a health check. They would stay DOWN for ever.
   * @throws AppError haproxy_unavailable, haproxy_rejected
   */
  async prepare(steps: readonly Step[], unchecked: ReadonlySet<string>): Promise<readonly SentStep[]> {
    this.#forgetOld();
    const joining = steps.filter((step) => isJoin(step));
    if (joining.length + this.#awaited.size === 0) return steps;
    const leaving = leavingSlots(steps);
    const asked = new Set(
      [...joining, ...this.#awaited.values()].map(({ pool }) => pool).filter((pool) => leaving.has(pool)),
    );
    const rows = asked.size === 0 ? [] : await this.runtime.serversOf([...asked]);
    const assumed: SentStep[] = [];
    const atOnce = new Set<string>();
    for (const pool of asked) {
      const gone = leaving.get(pool) ?? new Set();
      if (rows.some((row) => row.backend === pool && isUp(row) && !gone.has(row.server))) continue;
      const ready = this.#mayBeUp(pool, rows).filter((slot) => !gone.has(nameOf(slot)));
      if (ready.length === 0) atOnce.add(pool);
      for (const { slot } of ready) assumed.push({ op: 'assume_up', pool, slot });
    }
    const moved = new Set(joining.filter((step) => servesAlready(step, rows)).map((step) => nameOf(step)));
    const isAtOnce = (step: Slot) =>
      atOnce.has(step.pool) || unchecked.has(nameOf(step)) || moved.has(nameOf(step));
    return [...assumed, ...steps.flatMap((step) => withoutCheckFirst(step, isAtOnce))];
  }

  /**
   * Call it after `steps` were applied. Returns steps for the pools in which no other server is UP: there the servers
   * that joined are used at once.
   */
  settle(steps: readonly SentStep[], { servers }: Pick<ApplyResult, 'servers'>): SentStep[] {
    const joined = steps.filter((step) => isJoin(step));
    const hasUp = new Set(servers.filter((row) => isUp(row)).map(({ backend }) => backend));
    for (const { pool, slot } of joined)
      if (hasUp.has(pool))
        this.#awaited.set(serverName(pool, slot), { pool, slot, since: performance.now() });
    return joined
      .filter(({ pool }) => !hasUp.has(pool))
      .map(({ pool, slot }): SentStep => ({ op: 'assume_up', pool, slot }));
  }

  /** The awaited servers of a pool that have not failed a check since they joined. */
  #mayBeUp(pool: string, rows: readonly ServerStateRow[]): Slot[] {
    return [...this.#awaited.values()].filter((awaited) => {
      if (awaited.pool !== pool) return false;
      const row = rows.find(({ server }) => server === nameOf(awaited));
      if (!row || row.state !== 'ready') return false;
      return row.down?.checkResult !== FAILED || performance.now() - awaited.since < FIRST_CHECK_MS;
    });
  }

  #forgetOld(): void {
    for (const [name, { since }] of this.#awaited)
      if (performance.now() - since > AWAITED_MS) this.#awaited.delete(name);
  }
}

type Join = Extract<Step, { op: 'put_server' | 'set_state' }>;

function isJoin(step: SentStep): step is Join {
  return (step.op === 'put_server' || step.op === 'set_state') && step.checkFirst === true;
}

/** Whether the address of a joining server gets requests in another slot of its pool, so that its checks have passed. */
function servesAlready(step: Join, rows: readonly ServerStateRow[]): boolean {
  if (step.op !== 'put_server') return false;
  const { ip, http_port: port } = step.server;
  return rows.some(
    (row) => row.backend === step.pool && isUp(row) && row.port === port && canonicalIp(row.address) === ip,
  );
}

/** Whether a server gets requests. */
function isUp({ state, weight, down }: ServerStateRow): boolean {
  return state === 'ready' && weight > 0 && !down;
}

/** The names of the servers that the steps take out of service, and of those that join, by pool. */
function leavingSlots(steps: readonly Step[]): Map<string, Set<string>> {
  const pools = new Map<string, Set<string>>();
  for (const step of steps) {
    const leaves =
      step.op === 'remove_server' ||
      (step.op === 'set_state' && step.state !== 'ready') ||
      (step.op === 'set_weight' && step.weight === 0);
    if (!leaves) continue;
    const names = pools.get(step.pool) ?? new Set();
    names.add(nameOf(step));
    pools.set(step.pool, names);
  }
  return pools;
}

/** The step without `checkFirst` if `isAtOnce`. The maintenance before an address change is then not needed either. */
function withoutCheckFirst(step: Step, isAtOnce: (step: Slot) => boolean): Step[] {
  if (step.op === 'set_state' && step.temporary) return isAtOnce(step) ? [] : [step];
  if (!isJoin(step) || !isAtOnce(step)) return [step];
  const { checkFirst: _, ...rest } = step;
  return [rest];
}

function nameOf({ pool, slot }: Slot): string {
  return serverName(pool, slot);
}
