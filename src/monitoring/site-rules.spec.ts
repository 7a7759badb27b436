import { describe, expect, it } from 'vitest';
import type { RunningServerRow } from '../haproxy/parsers/server-state.parser.js';
import type { ServerState } from '../model/server.js';
import { State } from '../model/state.js';
import { sitesOverview } from './site-rules.js';

const IP = { ip: '10.0.0.1', http_port: 80, weight: 1 };
const UP = { running: true, unchecked: false, state: 'ready' as ServerState, weight: 1 };

/** One pool with the domain a.example, whose servers have these saved states, and what HAProxy has of it. */
function overviewOf(saved: ServerState[], live: Partial<RunningServerRow>[], pool = 'pool_1') {
  const servers = new Map(saved.map((state, index) => [index + 1, { ...IP, state }]));
  const state = new State(1, [
    [pool, { domains: ['a.example'], servers, ...(pool !== 'pool_1' && { external: true as const }) }],
  ]);
  const rows = live.map((row, index) => ({
    backend: pool,
    server: `${pool}_${index + 1}`,
    address: IP.ip,
    port: 80,
    ...UP,
    ...row,
  }));
  const { down, maintenance, noServers, checking, serversDown } = sitesOverview(state, rows);
  const found = Object.entries({ down, maintenance, noServers, checking }).filter(
    ([, { total }]) => total > 0,
  );
  return [...found.map(([name]) => name), serversDown];
}

describe('sitesOverview', () => {
  it.each<[string, ServerState[], Partial<RunningServerRow>[], (string | number)[]]>([
    ['a server that is up', ['ready'], [{}], [0]],
    ['a server that failed its check', ['ready'], [{ running: false }], ['down', 1]],
    ['one of two servers that failed', ['ready', 'ready'], [{ running: false }, {}], [1]],
    ['a weight of 0', ['ready'], [{ weight: 0 }], ['down', 0]],
    ['a server that HAProxy does not have', ['ready'], [], ['down', 1]],
    ['all servers in maint', ['maint'], [{ running: false, state: 'maint' }], ['maintenance', 0]],
    ['all servers in drain', ['drain'], [{ state: 'drain' }], ['maintenance', 0]],
    [
      'a failed server beside one in maint',
      ['maint', 'ready'],
      [{ running: false, state: 'maint' }, { running: false }],
      ['down', 1],
    ],
    ['no server', [], [], ['noServers', 0]],
    ['a server before its first check', ['ready'], [{ unchecked: true }], ['checking', 0]],
    ['a passed server beside an unchecked one', ['ready', 'ready'], [{ unchecked: true }, {}], [0]],
  ])('of a domain with %s', (_, saved, live, expected) => {
    expect(overviewOf(saved, live)).toEqual(expected);
  });

  it('does not call a backend of the operator down that answers by its own rules', () => {
    expect(overviewOf([], [], 'be_static')).toEqual([0]);
    expect(overviewOf([], [{ running: false }], 'be_static')).toEqual(['down', 0]);
  });

  it('names at most 20 domains and counts all', () => {
    const domains = Array.from({ length: 30 }, (_, index) => `d${index}.example`);
    const servers = new Map([[1, { ...IP, state: 'ready' as const }]]);
    const { down } = sitesOverview(new State(1, [['pool_1', { domains, servers }]]), []);
    expect([down.names.length, down.total]).toEqual([20, 30]);
  });
});
