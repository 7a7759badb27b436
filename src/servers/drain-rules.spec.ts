import { describe, expect, it } from 'vitest';
import { knownServersOf } from '../haproxy/workers/worker-rows.js';
import type { DrainView } from '../haproxy/workers/drain-watch.js';
import type { OldWorkerState } from '../haproxy/workers/old-worker.js';
import { parseStat } from '../haproxy/parsers/stat.parser.js';
import type { ServerStatus } from '../haproxy/runtime/server-status.js';
import type { ServerSpec } from '../model/server.js';
import type { Pool } from '../model/state.js';
import { drainStatus, drainTargets } from './drain-rules.js';

const POOL = 'pool_1';

function pool(servers: Record<number, Partial<ServerSpec>>): Pool {
  const full = Object.entries(servers).map(([slot, server]): [number, ServerSpec] => [
    Number(slot),
    { ip: `10.0.0.${slot}`, http_port: 80, weight: 1, state: 'drain', ...server },
  ]);
  return { domains: ['a.example'], servers: new Map(full) };
}

/** An old worker; `admin` 1 is maintenance. */
function worker(
  clients: number,
  servers: [name: string, ip: string, admin: number, sessions: number][],
): OldWorkerState {
  const state = servers
    .map(([name, ip, admin]) => `1 ${POOL} 1 ${name} ${ip} 2 ${admin} 1 - 80 6 6 3 0`)
    .join('\n');
  const stat = servers.map(([name, , , sessions]) => `${POOL},${name},${sessions},2`).join('\n');
  return {
    pid: 7,
    replacedSeconds: 30,
    clients,
    servers: knownServersOf(
      `1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_fqdn srv_port srv_check_state srv_check_status srv_check_result srv_use_ssl\n${state}\n`,
    ),
    rows: parseStat(`# pxname,svname,scur,type\n${stat}\n`),
  };
}

function view(
  rows: [slot: number, connections: number, status?: ServerStatus][],
  old: OldWorkerState[] = [],
  list: DrainView['list'] = { known: true, workers: old, failedReloads: 0 },
): DrainView {
  return {
    current: {} as DrainView['current'],
    rows: rows.map(([slot, connections, status = 'DRAIN']) => ({
      pool: POOL,
      slot,
      connections,
      status,
      weight: 1,
      lastCheck: '',
    })),
    list,
    old,
  };
}

function statusOf(servers: Pool, slot: number, found: DrainView) {
  return drainStatus(drainTargets(POOL, servers, slot, found), POOL, found);
}

describe('drainStatus', () => {
  it('is drained if no worker has anything', () => {
    expect(statusOf(pool({ 1: {} }), 1, view([[1, 0]]))).toEqual({
      drained: true,
      current: 0,
      old_workers: 0,
      idle_clients: 0,
      servers: [{ slot: 1, state: 'drain', connections: 0 }],
      final: true,
    });
  });

  it.each([
    ['the current worker', view([[1, 2]]), { current: 2, old_workers: 0, idle_clients: 0 }],
    [
      'an old worker',
      view([[1, 0]], [worker(1, [['pool_1_1', '10.0.0.1', 0, 1]])]),
      { current: 0, old_workers: 1, idle_clients: 0 },
    ],
    [
      'an old worker whose client is idle',
      view([[1, 0]], [worker(1, [['pool_1_1', '10.0.0.1', 0, 0]])]),
      { current: 0, old_workers: 0, idle_clients: 1 },
    ],
    [
      'an old worker that has it under another name',
      view([[1, 0]], [worker(3, [['pool_1_9', '10.0.0.1', 0, 1]])]),
      { current: 0, old_workers: 1, idle_clients: 2 },
    ],
  ])('is not drained while %s can reach the server', (_, found, counts) => {
    expect(statusOf(pool({ 1: {} }), 1, found)).toMatchObject({ drained: false, final: false, ...counts });
  });

  it.each([
    ['does not know the server', worker(5, [['pool_1_1', '10.0.0.77', 1, 0]])],
    ['has no client', worker(0, [['pool_1_1', '10.0.0.1', 0, 0]])],
    ['has the server in maintenance', worker(5, [['pool_1_1', '10.0.0.1', 1, 0]])],
  ])('is drained beside an old worker that %s', (_, old) => {
    expect(statusOf(pool({ 1: {} }), 1, view([[1, 0]], [old]))).toMatchObject({
      drained: true,
      idle_clients: 0,
    });
  });

  it.each([
    ['is ready', { state: 'ready' } as const, 'UP', true],
    ['is ready, but HAProxy finds it down', { state: 'ready' } as const, 'DOWN', true],
    ['should drain, but HAProxy has it up', { state: 'drain' } as const, 'UP', false],
  ] as const)('is not drained if the server %s', (_, server, status, final) => {
    const found = statusOf(pool({ 1: server }), 1, view([[1, 0, status]]));
    expect(found).toMatchObject({
      drained: false,
      final,
      reason: expect.stringMatching(/^Not draining/) as string,
    });
  });

  it('is drained with weight 0, which gets no new requests', () => {
    const found = statusOf(pool({ 1: { state: 'ready', weight: 0 } }), 1, view([[1, 0, 'DRAIN']]));
    expect(found.drained).toBe(true);
  });

  it('with slot 0 waits for every server, and for removed servers that a worker has', () => {
    const old = worker(1, [
      ['pool_1_1', '10.0.0.1', 0, 0],
      ['pool_1_2', '10.0.0.99', 0, 1],
      ['pool_1_3', '10.0.0.3', 0, 0],
    ]);
    const found = statusOf(
      pool({ 1: {}, 2: {} }),
      0,
      view(
        [
          [1, 0],
          [2, 0],
          [4, 1, 'MAINT'],
        ],
        [old],
      ),
    );
    expect(found.servers).toEqual([
      { slot: 1, state: 'drain', connections: 0 },
      { slot: 2, state: 'drain', connections: 0 },
      { slot: 2, state: 'maint', removed: true, connections: 1 },
      { slot: 3, state: 'maint', removed: true, connections: 0 },
      { slot: 4, state: 'maint', removed: true, connections: 1 },
    ]);
    expect(found).toMatchObject({ drained: false, current: 1, old_workers: 1, idle_clients: 0 });
    const two = statusOf(
      pool({ 1: {}, 2: { state: 'ready' } }),
      0,
      view([
        [1, 0],
        [2, 0, 'UP'],
      ]),
    );
    expect(two).toMatchObject({
      drained: false,
      reason: expect.stringContaining('slot 2 is ready') as string,
    });
  });

  it.each([
    ['no_master', 'no_master'],
    ['reload', false],
    ['no_answer', false],
  ] as const)('is not drained if old workers are not known (%s)', (cause, final) => {
    const found = statusOf(
      pool({ 1: {} }),
      1,
      view([[1, 0]], [], { known: false, cause, reason: 'Because.' }),
    );
    expect(found).toMatchObject({ drained: false, reason: 'Old workers are not known. Because.', final });
  });

  it('is not drained while an old worker does not answer', () => {
    const hung = { ...worker(0, []), problem: 'timeout' };
    expect(statusOf(pool({ 1: {} }), 1, view([[1, 0]], [hung]))).toMatchObject({
      drained: false,
      reason: 'Old worker 7 does not answer: timeout',
    });
  });
});
