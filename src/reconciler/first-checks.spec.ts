import { beforeEach, describe, expect, it } from 'vitest';
import type { ServerStateRow } from '../haproxy/parsers/server-state.parser.js';
import type { SentStep, Step } from '../model/routing.js';
import type { ServerSpec } from '../model/server.js';
import { FirstChecks } from './first-checks.js';
import { plan } from './plan.js';

const server = (port: number, extra: Partial<ServerSpec> = {}): ServerSpec => ({
  ...{ ip: '10.0.0.1', http_port: port, weight: 1, state: 'ready' as const },
  ...extra,
});
const pool = (servers: Record<number, ServerSpec>) => ({
  domains: new Map<string, string>(),
  pools: new Map([['pool_1', new Map(Object.entries(servers).map(([slot, each]) => [Number(slot), each]))]]),
});
const brief = (steps: readonly SentStep[]) =>
  steps.map((step) => {
    const slot = 'slot' in step ? step.slot : '';
    const what = step.op === 'set_state' ? step.state : step.op;
    return `${slot} ${what}${'checkFirst' in step && step.checkFirst ? ' after check' : ''}`;
  });

describe('plan > a server that joins', () => {
  it.each([
    [
      'a pool with a ready server',
      { 1: server(80) },
      { 1: server(80), 2: server(81) },
      ['2 put_server after check'],
    ],
    ['an empty pool', {}, { 1: server(80), 2: server(81) }, ['1 put_server', '2 put_server']],
    ['a pool whose server leaves', { 1: server(80) }, { 2: server(81) }, ['2 put_server', '1 remove_server']],
    [
      'a pool whose server has weight 0',
      { 1: server(80, { weight: 0 }) },
      { 1: server(80, { weight: 0 }), 2: server(81) },
      ['2 put_server'],
    ],
    [
      'a pool again after maintenance',
      { 1: server(80), 2: server(81, { state: 'maint' }) },
      { 1: server(80), 2: server(81) },
      ['2 ready after check'],
    ],
    [
      'a pool again after it was drained, and checked',
      { 1: server(80), 2: server(81, { state: 'drain' }) },
      { 1: server(80), 2: server(81) },
      ['2 ready'],
    ],
    [
      'a pool with another address',
      { 1: server(80), 2: server(81) },
      { 1: server(80), 2: server(82) },
      ['2 maint', '2 put_server after check'],
    ],
    [
      'a pool in which all addresses change',
      { 1: server(80), 2: server(81) },
      { 1: server(82), 2: server(83) },
      ['1 put_server', '2 put_server'],
    ],
    ['as drained', { 1: server(80) }, { 1: server(80), 2: server(81, { state: 'drain' }) }, ['2 put_server']],
  ])('%s', (_, from, to, expected) => {
    expect(brief(plan(pool(from), pool(to)))).toEqual(expected);
  });
});

describe('FirstChecks', () => {
  let rows: ServerStateRow[];
  let asked: string[][];
  let checks: FirstChecks;
  const row = (slot: number, extra: Partial<ServerStateRow> = {}): ServerStateRow => ({
    ...{ backend: 'pool_1', server: `pool_1_${slot}`, address: '10.0.0.1', port: 80, weight: 1 },
    ...{ state: 'ready' as const, ...extra },
  });
  const down = (slot: number, checkResult: number) => row(slot, { down: { checkStatus: 8, checkResult } });
  const join: Step = {
    ...{ op: 'put_server', pool: 'pool_1', slot: 2, server: server(81), exists: false, checkFirst: true },
  };
  const drain = (slot: number): Step => ({ op: 'set_state', pool: 'pool_1', slot, state: 'drain' });
  const prepare = async (...steps: Step[]) => brief(await checks.prepare(steps, new Set()));

  beforeEach(() => {
    asked = [];
    checks = new FirstChecks({
      serversOf: async (pools) => {
        asked.push([...pools]);
        return rows;
      },
    });
  });

  it('asks HAProxy nothing before a server joins', async () => {
    expect(await prepare(join)).toEqual(['2 put_server after check']);
    expect(await prepare(drain(1))).toEqual(['1 drain']);
    expect(asked).toEqual([]);
  });

  it('settle > uses a server that joined at once if no other server is UP', () => {
    expect(brief(checks.settle([join], { servers: [row(1), down(2, 0)] }))).toEqual([]);
    expect(brief(checks.settle([join], { servers: [down(1, 2), down(2, 0)] }))).toEqual(['2 assume_up']);
    const drained = [row(1, { state: 'drain' }), row(3, { weight: 0 }), down(2, 0)];
    expect(brief(checks.settle([join], { servers: drained }))).toEqual(['2 assume_up']);
  });

  it('prepare > uses an awaited server at once if the last UP server leaves', async () => {
    checks.settle([join], { servers: [row(1), down(2, 0)] });
    rows = [row(1), down(2, 0)];
    expect(await prepare(drain(1))).toEqual(['2 assume_up', '1 drain']);
    rows = [row(1), row(3), down(2, 0)];
    expect(await prepare(drain(1))).toEqual(['1 drain']);
  });

  it('prepare > waits for no check if the plan itself takes the last UP server away', async () => {
    rows = [row(1), down(3, 2)];
    expect(await prepare(drain(1), join)).toEqual(['1 drain', '2 put_server']);
    const readdress: Step[] = [
      { op: 'set_state', pool: 'pool_1', slot: 1, state: 'maint', temporary: true },
      { ...join, slot: 1, exists: true },
    ];
    expect(await prepare(...readdress)).toEqual(['1 put_server']);
    rows = [row(1), row(3)];
    expect(await prepare(...readdress)).toEqual(['1 maint', '1 put_server after check']);
  });

  it('prepare > does not wait for a server that only changes its slot', async () => {
    const steps: Step[] = [
      { op: 'set_state', pool: 'pool_1', slot: 1, state: 'maint', temporary: true },
      { ...join, slot: 1, exists: true },
      { op: 'remove_server', pool: 'pool_1', slot: 2 },
    ];
    const helper = row(2, { port: 81 });
    rows = [row(1, { state: 'drain' }), helper, row(3)];
    expect(await prepare(...steps)).toEqual(['1 put_server', '2 remove_server']);
    rows = [row(1, { state: 'drain' }), { ...helper, down: { checkStatus: 8, checkResult: 2 } }, row(3)];
    expect(await prepare(...steps)).toEqual(['1 maint', '1 put_server after check', '2 remove_server']);
  });

  it('prepare > does not wait for the check of a server that has none', async () => {
    const steps: Step[] = [{ op: 'set_state', pool: 'pool_1', slot: 2, state: 'ready', checkFirst: true }];
    expect(brief(await checks.prepare(steps, new Set(['pool_1_2'])))).toEqual(['2 ready']);
  });
});
