import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../test/chaos/scale.js';
import type { Routing, Step } from '../model/routing.js';
import { plan } from './plan.js';
import { SERVER_STATES, type ServerSpec } from '../model/server.js';

/** A model of HAProxy. It refuses every step that the real HAProxy refuses. */
class Model {
  readonly domains: Map<string, string>;
  readonly pools = new Map<string, Map<number, ServerSpec>>();
  readonly parked = new Map<string, Set<number>>();

  constructor(
    routing: Routing,
    parked: readonly (readonly [string, number])[] = [],
    /** Undefined: every pool exists. */
    readonly backends?: Set<string>,
  ) {
    this.domains = new Map(routing.domains);
    for (const [pool, servers] of routing.pools) this.pools.set(pool, new Map(servers));
    for (const [pool, slot] of parked) this.#parkedIn(pool).add(slot);
  }

  apply(steps: readonly Step[], keepsConnections: (slot: number) => boolean = () => false): void {
    for (const step of steps) this.#step(step, keepsConnections);
  }

  routing(): Routing {
    const used = [...this.pools].filter(([, servers]) => servers.size > 0);
    return { domains: this.domains, pools: new Map(used) };
  }

  #step(step: Step, keepsConnections: (slot: number) => boolean): void {
    switch (step.op) {
      case 'add_domains':
        expect(step.pools).toHaveLength(step.keys.length);
        for (const [index, key] of step.keys.entries()) {
          expect(this.domains.has(key)).toBe(false);
          this.domains.set(key, step.pools[index]!);
        }
        return;
      case 'set_domain':
        expect(this.domains.has(step.key)).toBe(true);
        this.domains.set(step.key, step.pool);
        return;
      case 'del_domain':
        expect(this.domains.delete(step.key)).toBe(true);
        return;
      case 'add_pool':
        expect(this.backends?.has(step.pool)).toBe(false);
        this.backends?.add(step.pool);
        return;
      case 'remove_pool':
        expect(this.backends?.delete(step.pool)).toBe(true);
        expect(this.pools.get(step.pool)?.size ?? 0).toBe(0);
        expect([...this.domains.values()]).not.toContain(step.pool);
        return;
      case 'add_site_entries':
      case 'set_site_entry':
      case 'del_site_entry':
        throw new Error('these routings have no site options');
      default:
    }
    if (this.backends) expect(this.backends).toContain(step.pool);
    const servers = this.pools.get(step.pool) ?? new Map<number, ServerSpec>();
    this.pools.set(step.pool, servers);
    const present = servers.get(step.slot);
    if (step.op === 'put_server') {
      expect(step.exists).toBe(present !== undefined || this.#parkedIn(step.pool).has(step.slot));
      this.#parkedIn(step.pool).delete(step.slot);
      servers.set(step.slot, step.server);
      return;
    }
    expect(present).toBeDefined();
    if (step.op === 'set_weight') servers.set(step.slot, { ...present!, weight: step.weight });
    if (step.op === 'set_state') servers.set(step.slot, { ...present!, state: step.state });
    if (step.op === 'remove_server') {
      servers.delete(step.slot);
      if (keepsConnections(step.slot)) this.#parkedIn(step.pool).add(step.slot);
    }
  }

  #parkedIn(pool: string): Set<number> {
    const slots = this.parked.get(pool) ?? new Set<number>();
    this.parked.set(pool, slots);
    return slots;
  }
}

const server = fc.record<ServerSpec>({
  ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '2001:db8::1'),
  http_port: fc.constantFrom(80, 8080),
  weight: fc.integer({ min: 0, max: 256 }),
  state: fc.constantFrom(...SERVER_STATES),
});
const poolName = fc.integer({ min: 1, max: 4 }).map((n) => `pool_${n}`);
const slots = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 5 }), server), {
  minLength: 1,
  selector: ([s]) => s,
});
const routing: fc.Arbitrary<Routing> = fc.record({
  domains: fc
    .uniqueArray(fc.tuple(fc.constantFrom('a.io', '.a.io', 'b.io', 'c.io', 'd.io'), poolName), {
      selector: ([d]) => d,
    })
    .map((entries) => new Map(entries)),
  pools: fc
    .uniqueArray(
      fc.tuple(
        poolName,
        slots.map((entries) => new Map(entries)),
      ),
      { selector: ([p]) => p },
    )
    .map((entries) => new Map(entries)),
});

/** The same routing, with every pool that a name points to. */
function withItsPools({ domains, pools }: Routing): Routing {
  const empty = [...domains.values()].map((pool) => [pool, new Map<number, ServerSpec>()] as const);
  return { domains, pools: new Map([...empty, ...pools]) };
}

describe('plan', () => {
  it('turns any routing into any other routing', () => {
    fc.assert(
      fc.property(routing, routing, (from, to) => {
        const model = new Model(from);
        model.apply(plan(from, to));
        expect(model.routing()).toEqual(to);
      }),
      { numRuns: scaled(2000, 300) },
    );
  });

  it('reuses parked slots that the target needs, and does not touch the others', () => {
    fc.assert(
      fc.property(routing, routing, routing, fc.func(fc.boolean()), (a, b, c, keeps) => {
        const model = new Model(a);
        model.apply(plan(a, b), keeps);
        model.apply(plan(b, c, model.parked), keeps);
        expect(model.routing()).toEqual(c);
      }),
      { numRuns: scaled(1000, 200) },
    );
  });

  it('creates missing pools, and deletes unused pools except those that HAProxy keeps', () => {
    fc.assert(
      fc.property(
        routing,
        routing,
        fc.subarray(['pool_1', 'pool_2', 'pool_3', 'pool_4']),
        (some, other, kept) => {
          const [from, to] = [withItsPools(some), withItsPools(other)];
          const stays = (pool: string) => kept.includes(pool);
          const model = new Model(from, [], new Set(from.pools.keys()));
          model.apply(plan(from, to, new Map(), { backends: new Set(model.backends), stays }));
          const expected = new Set([...to.pools.keys(), ...[...from.pools.keys()].filter(stays)]);
          expect(model.backends).toEqual(expected);
          expect(model.domains).toEqual(to.domains);
        },
      ),
      { numRuns: scaled(1000, 200) },
    );
  });

  it('returns no step for equal sides', () => {
    fc.assert(
      fc.property(routing, (same) => {
        expect(plan(same, new Model(same).routing())).toEqual([]);
      }),
    );
  });

  it('removes a name before its pool changes owner, and adds a name after its servers', () => {
    const spec: ServerSpec = { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' };
    const before: Routing = {
      domains: new Map([['old.io', 'pool_1']]),
      pools: new Map([['pool_1', new Map([[1, spec]])]]),
    };
    const after: Routing = {
      domains: new Map([['new.io', 'pool_1']]),
      pools: new Map([['pool_1', new Map([[1, { ...spec, ip: '10.0.0.2' }]])]]),
    };
    expect(plan(before, after).map((step) => step.op)).toEqual(['del_domain', 'put_server', 'add_domains']);
  });

  it('adds the new name of a pool before it removes the former one, unless the pool gets a new server', () => {
    const spec: ServerSpec = { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' };
    const side = (key: string, pool: string, servers: ServerSpec[] = []): Routing => ({
      domains: new Map([[key, pool]]),
      pools: new Map(servers.length > 0 ? [[pool, new Map(servers.entries())]] : []),
    });
    const ops = (from: Routing, to: Routing) => plan(from, to).map((step) => step.op);
    const renamed = ['add_domains', 'del_domain'];
    expect(ops(side('old.io', 'pool_1', [spec]), side('new.io', 'pool_1', [spec]))).toEqual(renamed);
    expect(ops(side('old.io', 'pool_1'), side('new.io', 'pool_1'))).toEqual(renamed);
    // The servers of an external pool are in no plan.
    expect(ops(side('old.io', 'be_static'), side('new.io', 'be_static'))).toEqual(renamed);
    expect(
      ops(side('old.io', 'pool_1', [spec]), side('new.io', 'pool_1', [spec, { ...spec, ip: '10.0.0.2' }])),
    ).toEqual(['del_domain', 'put_server', 'add_domains']);
  });

  it('leaves no moment without a server in service, if there is one before and after', () => {
    fc.assert(
      fc.property(slots, slots, (one, other) => {
        const side = (servers: typeof one): Routing => ({
          domains: new Map([['a.io', 'pool_1']]),
          pools: new Map([['pool_1', new Map(servers)]]),
        });
        const [from, to] = [side(one), side(other)];
        const serves = ({ pools }: Routing) =>
          [...(pools.get('pool_1')?.values() ?? [])].some(
            ({ state, weight }) => state === 'ready' && weight > 0,
          );
        fc.pre(serves(from) && serves(to));
        const model = new Model(from);
        for (const step of plan(from, to)) {
          model.apply([step]);
          expect(serves(model.routing()), JSON.stringify(step)).toBe(true);
        }
      }),
      { numRuns: scaled(1000, 200) },
    );
  });
});
