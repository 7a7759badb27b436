import { describe, expect, it } from 'vitest';
import type { ServerSpec, ServerState } from '../model/server.js';
import { State } from '../model/state.js';
import { type Move, parseGivenAddress } from './replace-server-rules.js';
import { leftText, oldServerText, type OldServerPlace, oldServiceText } from './replace-server-texts.js';

const FROM = '10.0.0.1';
const TO = '2001:db8::2';

function textOf(servers: [ip: string, state?: ServerState, weight?: number][]): string {
  const specs = servers.map(([ip, state = 'ready', weight = 1], index): [number, ServerSpec] => [
    index + 1,
    { ip, http_port: 80, weight, state },
  ]);
  const state = new State(1, [['pool_1', { domains: ['a.example'], servers: new Map(specs) }]]);
  const [from, to] = [parseGivenAddress(FROM), parseGivenAddress(TO)];
  if (!from || !to) throw new Error('not an address');
  return leftText(state, from, to);
}

describe('leftText', () => {
  it.each<[string, [string, ServerState?, number?][], RegExp]>([
    [
      'nothing, if no pool has the old server',
      [[TO]],
      /^Nothing is left to do: the saved state has 10\.0\.0\.1 in no pool\./,
    ],
    [
      'only the old server, if no pool has the new one',
      [[FROM]],
      /^The saved state has 10\.0\.0\.1 in pool_1_1 \(ready\)\. .*Call \{haproxy_replace_server\} again\.$/,
    ],
    [
      'both servers, and the two ways to go on',
      [[FROM], [TO]],
      /^The saved state has both servers: 10\.0\.0\.1 in pool_1_1 \(ready\), and 2001:db8::2 in pool_1_2 \(ready\)\..*To go back, remove 2001:db8::2/,
    ],
    [
      'that an old server in drain must be ready before the new one is removed',
      [[FROM, 'drain'], [TO]],
      /To go back, set 10\.0\.0\.1 to ready with \{haproxy_set_server_state\}, then remove 2001:db8::2/,
    ],
    ['a weight of 0', [[FROM, 'ready', 0], [TO]], /pool_1_1 \(ready, weight 0\)/],
  ])('names %s', (_, servers, expected) => {
    expect(textOf(servers)).toMatch(expected);
  });
});

const place = (name: string, changes: Partial<OldServerPlace> = {}): OldServerPlace => ({
  name,
  status: 'UP',
  weight: 1,
  connections: 0,
  ...changes,
});

describe('oldServerText', () => {
  it.each<[string, OldServerPlace[], string | undefined, string]>([
    [
      'that it can be stopped, if no worker has it',
      [],
      undefined,
      'No worker of HAProxy uses the old server any more. It is idle and can be stopped.',
    ],
    [
      'where HAProxy sends it requests, also in backends of the operator',
      [
        place('be_own/web1'),
        place('pool_2_1', { status: 'checking' }),
        place('pool_1_1', { status: 'DRAIN' }),
      ],
      undefined,
      'Keep the old server running: HAProxy sends requests to it in be_own/web1 (UP), pool_2_1 (checking).',
    ],
    [
      'where it has connections, for example of a removed server',
      [
        place('pool_1_1', { status: 'MAINT', connections: 2 }),
        place('pool_2_1', { weight: 0, connections: 1 }),
      ],
      undefined,
      'Keep the old server running: HAProxy has 3 connection(s) to it in pool_1_1 (MAINT), pool_2_1 (UP, weight 0).',
    ],
    ['what old workers have', [], 'Old worker 7 …', 'Keep the old server running: Old worker 7 …'],
    [
      'where it is, if it gets no requests there',
      [place('pool_1_1', { status: 'DOWN' })],
      undefined,
      'The old server is idle. HAProxy still has it in pool_1_1 (DOWN), and sends no requests to it.',
    ],
  ])('says %s', (_, places, oldWorkers, expected) => {
    expect(oldServerText({ places, oldWorkers })).toBe(expected);
  });
});

describe('oldServiceText', () => {
  it('says where HAProxy sends it requests, and where not and why', () => {
    const move = (pool: string, helper?: number): Move => ({
      pool,
      slot: 1,
      domains: [],
      expires: undefined,
      from: { ip: FROM, http_port: 80, weight: 1, state: 'ready' },
      to: { ip: TO, http_port: 80 },
      helper,
      added: true,
      drained: false,
    });
    const moves = [move('pool_1', 2), move('pool_2', 2), move('pool_3', 2), move('pool_4')];
    const places = [place('pool_1_1'), place('pool_2_1', { status: 'DOWN' }), place('pool_4_1')];
    expect(oldServiceText(moves, { places })).toBe(
      ' The old server is in service in pool_1_1. The old server gets no requests in pool_2_1 (DOWN), pool_3_1 (HAProxy does not have it there).',
    );
  });
});
