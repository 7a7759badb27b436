import { describe, expect, it } from 'vitest';
import type { Step } from '../../model/routing.js';
import type { ServerSpec } from '../../model/server.js';
import { commandBatches } from './step-commands.js';

const MAP = '/home/conf/domains.map';
const SERVER: ServerSpec = { ip: '2001:db8::1', http_port: 80, weight: 3, state: 'ready' };

function put(slot: number, exists: boolean, more: Partial<ServerSpec> = {}): Step {
  return { op: 'put_server', pool: 'pool_1', slot, exists, server: { ...SERVER, ...more } };
}

/** The command lines of each batch. */
function lines(...steps: Step[]): string[][] {
  return [...commandBatches(steps, MAP)].map(({ commands }) =>
    [...commands].map(({ command }) => command.line),
  );
}

describe('commandBatches', () => {
  it('adds a server with all its keywords and enables it last', () => {
    expect(lines(put(2, false))).toEqual([
      [
        'add server pool_1/pool_1_2 [2001:db8::1]:80 weight 3 check inter 2s fall 3 rise 2',
        'enable health pool_1/pool_1_2',
        'set server pool_1/pool_1_2 state ready',
      ],
    ]);
  });

  it('changes addresses in one batch and enables the servers in the next batch', () => {
    const batches = [
      ...commandBatches([put(1, true), put(2, true, { ip: '10.0.0.2', state: 'drain' })], MAP),
    ];
    expect(batches.map(({ addressChanges }) => addressChanges.map(({ slot }) => slot))).toEqual([[1, 2], []]);
    expect(lines(put(1, true), put(2, true, { ip: '10.0.0.2', state: 'drain' }))).toEqual([
      [
        'set server pool_1/pool_1_1 addr 2001:db8::1 port 80',
        'set server pool_1/pool_1_2 state drain',
        'set server pool_1/pool_1_2 addr 10.0.0.2 port 80',
      ],
      [
        'set server pool_1/pool_1_1 weight 3',
        'enable health pool_1/pool_1_1',
        'set server pool_1/pool_1_1 state ready',
        'set server pool_1/pool_1_2 weight 3',
        'enable health pool_1/pool_1_2',
      ],
    ]);
  });

  it('keeps the order of the plan', () => {
    expect(
      lines(
        { op: 'del_domain', key: 'old.test' },
        put(1, false),
        { op: 'set_weight', pool: 'pool_2', slot: 1, weight: 0 },
        { op: 'set_state', pool: 'pool_2', slot: 1, state: 'drain' },
        { op: 'add_domains', keys: ['.new.test'], pools: ['pool_1'] },
        { op: 'set_domain', key: 'a.test', pool: 'pool_1' },
        { op: 'remove_server', pool: 'pool_3', slot: 1 },
      ).flat(),
    ).toEqual([
      `del map ${MAP} old.test`,
      `del map ${MAP} old.test`,
      'add server pool_1/pool_1_1 [2001:db8::1]:80 weight 3 check inter 2s fall 3 rise 2',
      'enable health pool_1/pool_1_1',
      'set server pool_1/pool_1_1 state ready',
      'set server pool_2/pool_2_1 weight 0',
      'set server pool_2/pool_2_1 state drain',
      `add map ${MAP} .new.test pool_1`,
      `set map ${MAP} a.test pool_1`,
      'set server pool_3/pool_3_1 state maint',
      'del server pool_3/pool_3_1',
    ]);
  });

  it('splits many names into commands that fit the buffer of HAProxy', () => {
    const keys = Array.from({ length: 2_000 }, (_, index) => `name-${index}.example.test`);
    const pools = keys.map((_, index) => `pool_${Math.ceil((index + 1) / 1_000)}`);
    const [batch, ...others] = [...commandBatches([{ op: 'add_domains', keys, pools }], MAP)];
    expect(others).toEqual([]);
    const commands = [...(batch?.commands ?? [])].map(({ command }) => command);
    expect(commands.length).toBeGreaterThan(2);
    expect(Math.max(...commands.map(({ size }) => size))).toBeLessThan(14_500);
    expect(commands.flatMap(({ payload }) => payload?.text.trimEnd().split('\n') ?? [])).toEqual(
      keys.map((key, index) => `${key} ${pools[index]}`),
    );
  });

  it('adds and publishes a pool before its servers, and waits for the last requests before it deletes a pool', () => {
    expect(lines({ op: 'add_pool', pool: 'pool_1' }, put(1, false)).flat().slice(0, 3)).toEqual([
      'add backend pool_1 from pools mode http',
      'publish backend pool_1',
      'add server pool_1/pool_1_1 [2001:db8::1]:80 weight 3 check inter 2s fall 3 rise 2',
    ]);
    expect(lines({ op: 'remove_pool', pool: 'pool_1' }).flat()).toEqual([
      'unpublish backend pool_1',
      'wait 50ms be-removable pool_1',
      'del backend pool_1',
    ]);
  });

  it('is empty without steps', () => {
    expect([...commandBatches([], MAP)]).toEqual([]);
  });
});
