import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { haproxyVersions, hasDynamicBackends } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/traffic/request.js';
import { type RunningHaproxy, startHaproxy } from '../kit/haproxy/start-haproxy.js';
import { type Observed, observe } from './fixture.js';

describe.each(haproxyVersions())('health and monitoring with HAProxy $version', (binary) => {
  let haproxy: RunningHaproxy;
  let suite: Observed;
  let backend: Backend;

  beforeAll(async () => {
    [haproxy, backend] = [await startHaproxy(binary), await startBackend('one')];
    suite = await observe(haproxy);
    await suite.untilReady();
    const add = (domain: string, extra: object) => suite.api('POST', '/domains', { domain, ...extra });
    await add('a.example', { ip: '127.0.0.1', http_port: backend.port });
    await add('empty.example', {});
    await add('half.example', { ip: '127.0.0.1', http_port: backend.port });
    await suite.api('POST', '/domains/half.example/servers', { ip: '127.0.0.1', http_port: 9 });
    await add('dead.example', { ip: '127.0.0.1', http_port: 9 });
    for (let n = 0; n < 5; n += 1) expect((await get(haproxy.httpPort, 'a.example')).body).toBe('one');
    await until(
      async () => {
        const { items } = await suite.tool<{ items: object[] }>('haproxy_get_server_health', {
          status: 'DOWN',
        });
        return items.length === 2;
      },
      { what: 'the status DOWN of two servers' },
    );
  });

  afterAll(async () => {
    await suite.close();
    await haproxy.stop();
    await backend.close();
  });

  /** Calls a tool and its REST route, checks that both return the same fields, and returns the REST answer. */
  const both = async <T extends object>(
    tool: string,
    args: Record<string, unknown>,
    path: string,
  ): Promise<T> => {
    const answer = await suite.tool<T>(tool, args);
    const rest = await suite.api<T>('GET', path);
    expect(rest.status).toBe(200);
    expect(Object.keys(rest.body).toSorted()).toEqual(Object.keys(answer).toSorted());
    return rest.body;
  };

  it.each([
    ['a.example', 'healthy', 1, 1],
    ['half.example', 'degraded', 1, 2],
    ['dead.example', 'down', 0, 1],
    ['empty.example', 'no_servers', 0, 0],
  ])('haproxy_domain_health reports %s as %s', async (domain, status, healthy_count, total) => {
    const health = await both('haproxy_domain_health', { domain }, `/domains/${domain}/health`);
    expect(health).toMatchObject({ status, domain, healthy_count, total });
  });

  it('haproxy_get_server_health lists servers, filtered by domain and status', async () => {
    const all = await both<{ total: number }>('haproxy_get_server_health', {}, '/servers/health');
    expect(all.total).toBe(4);
    const down = await both(
      'haproxy_get_server_health',
      { domain: 'half.example', status: 'DOWN' },
      '/servers/health?domain=half.example&status=DOWN',
    );
    expect(down).toMatchObject({
      total: 1,
      items: [{ name: 'pool_3_2', status: 'DOWN', domains: ['half.example'] }],
    });
    expect(JSON.stringify(down)).toContain('refused');
    const paged = await suite.api<{ items: object[]; next_cursor: string }>('GET', '/servers/health?limit=3');
    const rest = await suite.api('GET', `/servers/health?cursor=${paged.body.next_cursor}`);
    expect(rest.body).toMatchObject({ items: [{ name: 'pool_4_1' }], next_cursor: null, total: 4 });
  });

  it('haproxy_health reports each component, and is degraded if few pools are free', async () => {
    const health = await both<Record<string, Record<string, unknown>>>('haproxy_health', {}, '/health');
    // If HAProxy creates more pools as needed, this is no problem.
    const status = hasDynamicBackends(binary.version) ? 'healthy' : 'degraded';
    expect(health).toMatchObject({
      status: 'degraded',
      components: {
        sites: { status: 'degraded', down: ['dead.example'], down_total: 1, no_servers_total: 1 },
        mcp: {
          status,
          detail: expect.stringContaining('4 of 5 pools are in use') as string,
          domains: 4,
          servers: 4,
        },
        haproxy: { status: 'healthy', version: expect.stringContaining(binary.version) as string },
        config_files: { status: 'healthy' },
        certificates: { status: 'healthy', detail: 'No certificates.', total: 0 },
        drift: { status: 'healthy', count: 0, mode: 'heal' },
      },
    });
  });

  interface Stats {
    items: { scope: string; name: string; requests: { total: number }; responses: { http_2xx: number } }[];
    process: { requests_total: number };
    total: number;
  }

  it('haproxy_stats returns the counters of everything in use as numbers', async () => {
    const stats = await both<Stats>('haproxy_stats', {}, '/stats');
    const names = stats.items.map(({ name }) => name);
    expect(names).toEqual([
      'web',
      'pool_1',
      'pool_1_1',
      'pool_2',
      'pool_3',
      'pool_3_1',
      'pool_3_2',
      'pool_4',
      'pool_4_1',
    ]);
    const server = stats.items.find(({ name }) => name === 'pool_1_1');
    expect(server?.responses.http_2xx).toBe(5);
    expect(server?.requests.total).toBe(5);
    expect(stats.process.requests_total).toBeGreaterThanOrEqual(5);
  });

  it('haproxy_stats filters by scope and domain, and includes free pools with include_unused', async () => {
    const one = await both<Stats>(
      'haproxy_stats',
      { scope: 'server', domain: 'a.example' },
      '/stats?scope=server&domain=a.example',
    );
    expect(one.items.map(({ name }) => name)).toEqual(['pool_1_1']);
    const all = await both<Stats>(
      'haproxy_stats',
      { scope: 'backend', include_unused: true },
      '/stats?scope=backend&include_unused=true',
    );
    expect(all.items.map(({ name }) => name)).toEqual(['pool_1', 'pool_2', 'pool_3', 'pool_4', 'pool_5']);
  });

  it('haproxy_backends lists used and free pools', async () => {
    const used = await both('haproxy_backends', { in_use: true }, '/backends?in_use=true');
    expect(used).toMatchObject({ total: 4, pools_in_use: 4, pools_total: 5 });
    const free = await both('haproxy_backends', { in_use: false }, '/backends?in_use=false');
    expect(free).toMatchObject({ total: 1, items: [{ name: 'pool_5', in_use: false, in_haproxy: true }] });
    const [first] = (await suite.tool<{ items: object[] }>('haproxy_backends')).items;
    expect(first).toMatchObject({ name: 'pool_1', domains: ['a.example'], server_count: 1, status: 'UP' });
  });

  it('haproxy_list_frontends lists the frontends', async () => {
    const { body } = await suite.api('GET', '/frontends');
    expect(body).toMatchObject({ total: 1, items: [{ name: 'web', mode: 'http', status: 'OPEN' }] });
    await both('haproxy_list_frontends', {}, '/frontends');
  });

  it('haproxy_get_connections counts an open connection', async () => {
    const slow = get(haproxy.httpPort, 'a.example', '/held');
    await until(async () => {
      const { items } = await suite.tool<{ items: { servers: { current: number }[] }[] }>(
        'haproxy_get_connections',
        { domain: 'a.example' },
      );
      return items[0]?.servers[0]?.current === 1;
    });
    backend.release('/held');
    await slow;
    const all = await both('haproxy_get_connections', {}, '/connections');
    expect(all).toMatchObject({
      total: 4,
      items: [
        { pool: 'pool_1', servers: [{ name: 'pool_1_1', slot: 1, max: expect.any(Number) as number }] },
        { pool: 'pool_2', servers: [] },
        {},
        {},
      ],
    });
  });

  it('health and monitoring refuse invalid input with the right code', async () => {
    expect((await suite.api('GET', '/stats?scope=cluster')).body).toMatchObject({
      code: 'validation_failed',
    });
    expect((await suite.api('GET', '/stats?limit=0')).status).toBe(422);
    expect((await suite.api('GET', '/stats?domain=none.example')).status).toBe(404);
    expect((await suite.api('GET', '/connections?domain=none.example')).body).toMatchObject({
      code: 'domain_not_found',
    });
    expect((await suite.api('GET', '/domains/none.example/health')).status).toBe(404);
    expect((await suite.api('GET', '/servers/health?status=SICK')).status).toBe(422);
    expect((await suite.api('GET', '/backends?in_use=maybe')).status).toBe(422);
    expect(await suite.failure('haproxy_stats', { scope: 7 })).toBe('validation_failed');
    // A tool without arguments ignores what it is given.
    expect(await suite.failure('haproxy_health', { deep: true })).toBe('no error');
    expect(await suite.failure('haproxy_domain_health', { domain: 'none.example' })).toBe('domain_not_found');
  });

  it('/metrics returns the metrics to a caller with a token', async () => {
    expect((await suite.text('/metrics', 'wrong')).status).toBe(401);
    const { status, text, type } = await suite.text('/metrics');
    expect(status).toBe(200);
    expect(type).toContain('text/plain');
    for (const line of [
      'haproxy_suite_domains 4',
      'haproxy_suite_servers 4',
      'haproxy_suite_pools_in_use 4',
      'haproxy_suite_pools 5',
      'haproxy_suite_drift 0',
      'haproxy_suite_ready 1',
    ])
      expect(text.split('\n')).toContain(line);
    expect(text).toMatch(/^haproxy_suite_changes_total\{outcome="committed"\} \d+$/m);
    expect(text).toMatch(/^haproxy_suite_commit_duration_seconds_count \d+$/m);
    expect(text).toMatch(/^haproxy_suite_apply_duration_seconds_count \d+$/m);
    expect(text).toMatch(/^haproxy_suite_reconciles_total\{outcome="done"\} \d+$/m);
    expect(text).toMatch(/^nodejs_eventloop_lag_seconds /m);
  });
});
