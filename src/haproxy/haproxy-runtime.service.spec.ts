import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startBackend, type Backend } from '../../test/kit/traffic/backend.js';
import { haproxyVersions } from '../../test/kit/haproxy/haproxy-versions.js';
import { until } from '../../test/kit/poll.js';
import { get } from '../../test/kit/traffic/request.js';
import { startHaproxy, type RunningHaproxy } from '../../test/kit/haproxy/start-haproxy.js';
import type { Step } from '../model/routing.js';
import { loadSettings } from '../settings/settings.js';
import { HaproxyRuntimeService } from './haproxy-runtime.service.js';
import type { ServerSpec } from '../model/server.js';

const STATIC = `backend pool_9 from pools
  balance roundrobin
  server pool_9_1 127.0.0.1:1 weight 4 check inter 50ms fall 1 rise 1
  server pool_9_2 127.0.0.1:1 disabled
  server pool_9_3 127.0.0.1:1 check disabled
  server pool_9_4 127.0.0.1:1 weight 0
`;

const spec = (backend: Backend, more: Partial<ServerSpec> = {}): ServerSpec => ({
  ip: '127.0.0.1',
  http_port: backend.port,
  weight: 1,
  state: 'ready',
  ...more,
});
const put = (pool: string, slot: number, server: ServerSpec, exists = false): Step => ({
  op: 'put_server',
  pool,
  slot,
  server,
  exists,
});
const add = (key: string, pool: string): Step => ({ op: 'add_domains', keys: [key], pools: [pool] });

describe.each(haproxyVersions())('HaproxyRuntimeService on HAProxy $version', (binary) => {
  let haproxy: RunningHaproxy;
  let runtime: HaproxyRuntimeService;
  let one: Backend;
  let two: Backend;

  beforeEach(async () => {
    [haproxy, one, two] = await Promise.all([
      startHaproxy(binary, { poolsText: STATIC }),
      startBackend('one'),
      startBackend('two'),
    ]);
    runtime = new HaproxyRuntimeService(
      loadSettings({ HAPROXY_HOME: haproxy.home, HAPROXY_SOCKET: haproxy.socket }),
    );
  });

  afterEach(async () => {
    await Promise.all([haproxy.stop(), one.close(), two.close()]);
  });

  it('apply adds or removes a server and a domain before the next request', async () => {
    expect(
      await runtime.apply([put('pool_1', 1, spec(one, { weight: 7 })), add('a.test', 'pool_1')]),
    ).toMatchObject({ parked: [], keptPools: [] });
    expect((await get(haproxy.httpPort, 'a.test')).body).toBe('one');

    const routing = await runtime.readRouting();
    expect(routing.pools.get('pool_1')?.get(1)).toEqual(spec(one, { weight: 7 }));
    expect(routing.domains.get('a.test')).toBe('pool_1');
    expect(routing.backends.has('pool_5')).toBe(true);

    await runtime.apply([
      { op: 'del_domain', key: 'a.test' },
      { op: 'remove_server', pool: 'pool_1', slot: 1 },
    ]);
    expect((await get(haproxy.httpPort, 'a.test')).status).toBe(503);
  });

  it('apply deletes both entries of a key that was added twice', async () => {
    await runtime.apply([
      put('pool_1', 1, spec(one)),
      add('twice.test', 'pool_1'),
      add('twice.test', 'pool_1'),
    ]);
    expect((await get(haproxy.httpPort, 'twice.test')).body).toBe('one');
    await runtime.apply([{ op: 'del_domain', key: 'twice.test' }]);
    expect((await runtime.readRouting()).domains.has('twice.test')).toBe(false);
    expect((await get(haproxy.httpPort, 'twice.test')).status).toBe(503);
  });

  it('apply sets weights, states and IPv6 addresses', async () => {
    const servers: ServerSpec[] = [
      spec(one, { ip: '2001:db8::1', weight: 0 }),
      spec(one, { ip: '::1', weight: 256, state: 'drain' }),
      spec(one, { weight: 3, state: 'maint' }),
    ];
    await runtime.apply(servers.map((server, index) => put('pool_2', index + 1, server)));
    const slots = () =>
      runtime.readRouting().then((routing) => [...(routing.pools.get('pool_2')?.values() ?? [])]);
    expect(await slots()).toEqual(servers);
    await runtime.apply([
      { op: 'set_weight', pool: 'pool_2', slot: 1, weight: 9 },
      { op: 'set_state', pool: 'pool_2', slot: 2, state: 'ready' },
      { op: 'set_state', pool: 'pool_2', slot: 3, state: 'drain' },
    ]);
    expect(await slots()).toEqual([
      { ...servers[0], weight: 9 },
      { ...servers[1], state: 'ready' },
      { ...servers[2], state: 'drain' },
    ]);
  });

  it('apply changes the address of declared servers before they get requests', async () => {
    await runtime.apply([
      ...[1, 2, 3, 4].map((slot) => put('pool_9', slot, spec(slot % 2 ? one : two, { weight: slot }), true)),
      add('s.test', 'pool_9'),
    ]);
    const answers = await Promise.all(Array.from({ length: 40 }, () => get(haproxy.httpPort, 's.test')));
    expect(new Set(answers.map(({ body }) => body))).toEqual(new Set(['one', 'two']));
    const routing = await runtime.readRouting();
    expect([...(routing.pools.get('pool_9')?.values() ?? [])]).toEqual(
      [1, 2, 3, 4].map((slot) => spec(slot % 2 ? one : two, { weight: slot })),
    );
    // The health check uses the new address: nothing listens on the previous port 1.
    await until(async () =>
      (await runtime.serverStatuses(['pool_9'])).every(
        ({ status }) => status === 'UP' || status === 'no check',
      ),
    );
  });

  it('apply changes the address of a serving server without a failed request', async () => {
    await runtime.apply([put('pool_1', 1, spec(one)), add('m.test', 'pool_1')]);
    const moving = new AbortController();
    const failed: number[] = [];
    const client = (async () => {
      while (!moving.signal.aborted) {
        const { status } = await get(haproxy.httpPort, 'm.test');
        if (status !== 200) failed.push(status);
      }
    })();
    for (let round = 0; round < 20; round += 1) {
      const next = round % 2 ? one : two;
      await runtime.apply([put('pool_1', 1, spec(next), true)]);
      expect((await get(haproxy.httpPort, 'm.test')).body).toBe(round % 2 ? 'one' : 'two');
    }
    moving.abort();
    await client;
    expect(failed).toEqual([]);
  });

  it('apply parks a server with connections until they end', async () => {
    await runtime.apply([put('pool_1', 1, spec(one)), add('p.test', 'pool_1')]);
    const slow = get(haproxy.httpPort, 'p.test', '/held');
    await until(() => one.count === 1);
    const result = await runtime.apply([{ op: 'remove_server', pool: 'pool_1', slot: 1 }]);
    expect(result).toMatchObject({ parked: [{ pool: 'pool_1', slot: 1 }], keptPools: [] });
    expect((await runtime.readRouting()).pools.get('pool_1')?.get(1)?.state).toBe('maint');
    expect(await runtime.deleteParked('pool_1', 1)).toBe(false);
    one.release('/held');
    await until(() => runtime.deleteParked('pool_1', 1), { what: 'the server being deleted' });
    expect((await slow).body).toBe('one');
    expect((await runtime.readRouting()).pools.has('pool_1')).toBe(false);
    expect(await runtime.deleteParked('pool_1', 1)).toBe(true);
  });

  it('apply reuses a parked slot', async () => {
    await runtime.apply([put('pool_1', 1, spec(one)), add('p.test', 'pool_1')]);
    const slow = get(haproxy.httpPort, 'p.test', '/held');
    await until(() => one.count === 1);
    await runtime.apply([{ op: 'remove_server', pool: 'pool_1', slot: 1 }]);
    await runtime.apply([put('pool_1', 1, spec(two), true)]);
    expect((await get(haproxy.httpPort, 'p.test')).body).toBe('two');
    one.release('/held');
    expect((await slow).body).toBe('one');
  });

  it('apply deletes a server with idle connections', async () => {
    await runtime.apply([put('pool_1', 1, spec(one)), add('i.test', 'pool_1')]);
    await Promise.all(Array.from({ length: 8 }, () => get(haproxy.httpPort, 'i.test')));
    const { parked } = await runtime.apply([{ op: 'remove_server', pool: 'pool_1', slot: 1 }]);
    // Other threads close the idle connections, possibly after the second attempt.
    await until(() => parked.length === 0 || runtime.deleteParked('pool_1', 1), {
      what: 'the server being deleted',
    });
  });

  it('apply throws the first rejection of HAProxy and the number of rejections', async () => {
    await expect(
      runtime.apply([
        put('pool_1', 1, spec(one)),
        put('pool_77', 1, spec(one)),
        { op: 'del_domain', key: 'nobody.test' },
      ]),
    ).rejects.toMatchObject({
      code: 'haproxy_rejected',
      detail: expect.stringMatching(
        /"No such backend\." to "add server pool_77\/pool_77_1 .* 3 more of 9/,
      ) as string,
    });
    await expect(runtime.apply([{ op: 'set_domain', key: 'a.test', pool: 'pool_1' }])).rejects.toMatchObject({
      code: 'haproxy_rejected',
    });
    await expect(
      runtime.apply([put('pool_9', 1, spec(one, { ip: '10.1.1.1x' }), true)]),
    ).rejects.toMatchObject({
      code: 'haproxy_rejected',
      detail: expect.stringContaining('Invalid addr') as string,
    });
  });

  it('readRouting finds duplicates, and deleteEntries deletes only them', async () => {
    await runtime.apply([add('d.test', 'pool_1')]);
    await runtime.apply([add('d.test', 'pool_2'), add('d.test', 'pool_3')]);
    const { domains, duplicates } = await runtime.readRouting();
    expect(domains.get('d.test')).toBe('pool_1');
    expect(duplicates.map(({ value }) => value)).toEqual(['pool_2', 'pool_3']);
    await runtime.deleteEntries(duplicates);
    const cleaned = await runtime.readRouting();
    expect(cleaned.duplicates).toEqual([]);
    expect(cleaned.domains.get('d.test')).toBe('pool_1');
  });

  it('apply adds 10,000 names and 500 servers', async () => {
    const steps: Step[] = [];
    for (let index = 0; index < 500; index += 1)
      steps.push(put(`pool_${1 + (index % 5)}`, 1 + Math.floor(index / 5), spec(one)));
    const keys = Array.from({ length: 10_000 }, (_, index) => `name-${index}.example.test`);
    steps.push({ op: 'add_domains', keys, pools: keys.map(() => 'pool_1') });
    await runtime.apply(steps);
    const { domains, pools } = await runtime.readRouting();
    expect(domains.size).toBe(10_000);
    expect([...pools.values()].reduce((sum, slots) => sum + slots.size, 0)).toBe(504);
  });

  it('info, stats, serverStatuses and capabilities return the data of the process', async () => {
    await runtime.apply([put('pool_1', 3, spec(one))]);
    const info = await runtime.info();
    expect(info.pid).toBe(haproxy.process.pid);
    const stats = await runtime.stats();
    expect(stats.find((row) => row.kind === 'frontend')?.proxy).toBe('web');
    await until(async () =>
      (await runtime.serverStatuses(['pool_1']))[0]?.lastCheck.startsWith('Layer4 check passed'),
    );
    expect(await runtime.serverStatuses(['pool_1'])).toEqual([
      {
        pool: 'pool_1',
        slot: 3,
        status: 'UP',
        weight: 1,
        connections: 0,
        lastCheck: 'Layer4 check passed',
      },
    ]);
    expect(await runtime.serverStatuses()).toHaveLength(5);
    expect(await runtime.serverStatuses(['pool_77'])).toEqual([]);
    expect(await runtime.capabilities()).toMatchObject({ dynamicBackends: binary.version === '3.4' });
  });

  it('serverStatuses counts connections', async () => {
    await runtime.apply([put('pool_1', 1, spec(one)), add('c.test', 'pool_1')]);
    const call = request({
      host: '127.0.0.1',
      port: haproxy.httpPort,
      path: '/held',
      headers: { host: 'c.test' },
    });
    const answered = new Promise<void>((resolve) => {
      call.on('response', (response) => response.resume().on('end', resolve));
    });
    call.end();
    expect(await until(async () => (await runtime.serverStatuses(['pool_1']))[0]?.connections === 1)).toBe(
      true,
    );
    one.release('/held');
    await answered;
  });
});
