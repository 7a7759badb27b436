import { describe, expect, it } from 'vitest';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import { LoadedOptions } from './loaded-options.js';
import type { RoutingView } from './routing-view.js';

describe('LoadedOptions.poolsToReload', () => {
  const server = (port: number, weight = 1) =>
    ({ ip: '10.0.0.1', http_port: port, weight, state: 'ready' }) as const;
  const state = new State(0);
  const first = new Draft(state);
  first.addDomain('a.test', 'pool_1');
  first.putServer('pool_1', 1, server(80));
  state.apply(first, 1);
  /** HAProxy runs pool_1 with options that are not saved. */
  const view = {
    options: new Map([['pool_1', 'stale']]),
    process: { pid: 1 },
    hasServers: () => true,
  } as unknown as RoutingView;
  const loaded = new LoadedOptions({ pools: new Map() as never });

  it('needs no reload for a weight in a pool with other options than saved, and the options still differ', () => {
    const change = new Draft(state);
    change.putServer('pool_1', 1, server(80, 5));
    expect(loaded.poolsToReload(change, state, view)).toEqual([]);
    loaded.applied(change, state, view);
    expect(view.options.get('pool_1')).toBe('stale');
  });

  it('needs a reload for a server that joins such a pool', () => {
    const change = new Draft(state);
    change.putServer('pool_1', 2, server(81));
    expect(loaded.poolsToReload(change, state, view)).toEqual(['pool_1']);
  });
});
