import { describe, expect, it } from 'vitest';
import type { Routing } from '../model/routing.js';
import { compareRouting, describeDifference, describeDifferences } from './drift.js';
import type { PoolServers, ServerSpec } from '../model/server.js';

const spec = (ip: string, extra: Partial<ServerSpec> = {}): ServerSpec => ({
  ip,
  http_port: 80,
  weight: 1,
  state: 'ready',
  ...extra,
});
const routing = (
  domains: Record<string, string>,
  pools: Record<string, Record<number, ServerSpec>> = {},
): Routing => ({
  domains: new Map(Object.entries(domains)),
  pools: new Map(
    Object.entries(pools).map(([name, servers]): [string, PoolServers] => [
      name,
      new Map(Object.entries(servers).map(([slot, server]) => [Number(slot), server])),
    ]),
  ),
});

describe('compareRouting', () => {
  it('returns no difference for equal sides', () => {
    const one = routing({ 'a.example': 'pool_1' }, { pool_1: { 1: spec('10.0.0.1') } });
    const other = routing({ 'a.example': 'pool_1' }, { pool_1: { 1: spec('10.0.0.1') }, pool_2: {} });
    expect(compareRouting(one, other)).toEqual([]);
  });

  it('returns each difference', () => {
    const actual = routing(
      { 'a.example': 'pool_9', '.x.example': 'pool_3' },
      {
        pool_1: {
          1: spec('10.0.0.9', { weight: 0, state: 'maint' }),
          3: spec('2001:db8::1', { http_port: 8080 }),
        },
      },
    );
    const desired = routing(
      { 'a.example': 'pool_1', 'b.example': 'pool_2' },
      { pool_1: { 1: spec('10.0.0.1'), 2: spec('10.0.0.2', { weight: 5 }) } },
    );
    expect(compareRouting(actual, desired).map((difference) => describeDifference(difference))).toEqual([
      'domain a.example goes to pool_9 instead of pool_1',
      'domain b.example is missing in HAProxy (belongs to pool_2)',
      'domain *.x.example is in HAProxy (pool_3) and not in the saved state',
      'server pool_1_1 has address 10.0.0.9:80 instead of 10.0.0.1:80',
      'server pool_1_1 has weight 0 instead of 1',
      'server pool_1_1 has state maint instead of ready',
      'server pool_1_2 is missing in HAProxy (10.0.0.2:80 weight 5 ready)',
      'server pool_1_3 is in HAProxy ([2001:db8::1]:8080 weight 1 ready) and not in the saved state',
    ]);
  });

  it('describeDifferences > shows the first differences and counts the others', () => {
    const names = Object.fromEntries(
      Array.from({ length: 1000 }, (_, n): [string, string] => [`d${n}.example`, 'pool_1']),
    );
    const text = describeDifferences(compareRouting(routing({}), routing(names)), 2);
    expect(text).toBe(
      'domain d0.example is missing in HAProxy (belongs to pool_1); ' +
        'domain d1.example is missing in HAProxy (belongs to pool_1); and 998 more',
    );
  });
});
