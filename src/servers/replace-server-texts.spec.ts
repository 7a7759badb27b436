import { describe, expect, it } from 'vitest';
import type { ServerSpec, ServerState } from '../model/server.js';
import { State } from '../model/state.js';
import { parseGivenAddress } from './replace-server-rules.js';
import { leftText } from './replace-server-texts.js';

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
    ['nothing, if no pool has the old server', [[TO]], /^Nothing is left to do: no pool has 10\.0\.0\.1\./],
    [
      'only the old server, if no pool has the new one',
      [[FROM]],
      /^10\.0\.0\.1 is in pool_1_1 \(ready\)\. .*Call \{haproxy_replace_server\} again\.$/,
    ],
    [
      'both servers, and the two ways to go on',
      [[FROM], [TO]],
      /^Both servers are there: 10\.0\.0\.1 is in pool_1_1 \(ready\)\. 2001:db8::2 is in pool_1_2 \(ready\)\..*To go back, remove 2001:db8::2/,
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
