import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askRuntimeApi } from './kit/ask-runtime-api.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { makeCertificate } from './kit/certificates/certificates.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions, hasDynamicBackends, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { renderConfig } from '../src/haproxy/config/haproxy-cfg.template.js';
import { loadSettings } from '../src/settings/settings.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const ADMIN = 'admin-token-0123456789';
const READER = 'reader-token-0123456789';
/** No server listens on this port. */
const DEAD = 9;

interface Health {
  status: string;
  detail: string;
  matched: string;
  healthy_count: number;
  waited_ms?: number;
  servers: { status: string; last_check: string }[];
}
interface Sites {
  status: string;
  detail: string;
  down: string[];
  down_total: number;
  maintenance: string[];
  no_servers_total: number;
  checking_total: number;
}
interface Overall {
  components: { haproxy: { status: string; detail: string } };
}
interface Explained {
  host: string;
  domain?: string;
  pool?: string;
  servers: { name: string; address: string; status: string; used: boolean }[];
  certificate?: { domain: string; loaded: boolean };
  answer: { status?: number; reason: string };
  steps: { rule: string; outcome: string; detail: string }[];
}

describe.each(haproxyVersions())('health of sites with HAProxy $version', { timeout: 120_000 }, (haproxy) => {
  let home: Home;
  let suite: Suite;
  let backend: Backend;

  beforeAll(async () => {
    backend = await startBackend('one');
    const https = await freePort();
    home = await makeHome(haproxy, {
      HAPROXY_HTTPS_BIND: `127.0.0.1:${https}`,
      MCP_PUBLIC_HOST: 'mcp.example',
    });
    // A pool with servers that the suite does not add: without a check, and with the check of another server.
    const config = renderConfig(loadSettings(home.env), { ipv6: false });
    await writeFile(
      home.file('haproxy.cfg'),
      `${config}\n` +
        'backend pool_90 from pools\n' +
        `  server pool_90_1 127.0.0.1:${backend.port}\n` +
        'backend pool_91 from pools\n' +
        `  server pool_91_1 127.0.0.1:${backend.port} track checks/one\n` +
        `backend checks from pools\n  server one 127.0.0.1:${backend.port} check inter 500ms\n`,
    );
    await writeFile(home.file('mcp-token.env'), `MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=${READER}\n`, {
      mode: 0o600,
    });
    const { path } = home;
    const made = await makeCertificate(path, { names: ['*.apps.example'] });
    await writeFile(join(path, 'certs/apps.example.pem'), made.pem, { mode: 0o600 });
    suite = await Suite.start(home);
  });

  afterAll(async () => {
    await suite.stop();
    await backend.close();
    await home.remove();
  });

  const add = async (domain: string, ...ports: number[]) => {
    const [first, ...others] = ports;
    const server = first === undefined ? {} : { ip: '127.0.0.1', http_port: first };
    expect((await suite.api('POST', '/domains', { domain, ...server })).status).toBe(201);
    for (const http_port of others)
      expect(
        (await suite.api('POST', `/domains/${domain}/servers`, { ip: '127.0.0.1', http_port })).status,
      ).toBe(201);
  };
  const health = async (domain: string) => (await suite.api<Health>('GET', `/domains/${domain}/health`)).body;
  const wait = async (domain: string, timeout = 60) =>
    (await suite.api<Health>('POST', `/domains/${domain}/wait-healthy`, { timeout })).body;
  const sites = async () =>
    (await suite.api<{ components: { sites: Sites } }>('GET', '/health')).body.components.sites;
  const explain = async (query: string) => (await suite.api<Explained>('GET', `/explain?${query}`)).body;
  const live = (command: string) => askRuntimeApi(home.env['HAPROXY_SOCKET'] ?? '', command);
  const statusOf = async (domain: string) =>
    (await suite.api<{ items: { status: string }[] }>('GET', `/domains/${domain}/servers`)).body.items[0]
      ?.status;

  /** Adds a server that never answers, and reads every answer that has its status, all at once. */
  const readNewDeadServer = async () => {
    await add('dead.example', DEAD);
    const items = async <T>(path: string) =>
      (await suite.api<{ items: T[]; total: number }>('GET', path)).body;
    const [first, listed, pools, stats, checking, up] = await Promise.all([
      health('dead.example'),
      statusOf('dead.example'),
      items<{ status: string }>('/backends?in_use=true'),
      items<{ status: string }>('/stats?domain=dead.example'),
      items('/servers/health?status=checking'),
      items('/servers/health?status=UP'),
    ]);
    const statuses = [listed, ...[...pools.items, ...stats.items].map(({ status }) => status)];
    return { first, statuses, checking: checking.total, up: up.total };
  };

  it('nothing is healthy before its first check has passed', async () => {
    const all: Awaited<ReturnType<typeof readNewDeadServer>>[] = [];
    const views = await until(
      async () => {
        const read = await readNewDeadServer();
        all.push(read);
        if (read.first.status === 'checking' && !read.statuses.includes('DOWN') && read.checking === 1)
          return read;
        // On a busy machine the check has failed already: once more.
        await suite.api('DELETE', '/domains/dead.example');
        return false;
      },
      { what: 'answers before the first check' },
    );
    for (const { first, statuses, up } of all) {
      expect(first.status).not.toBe('healthy');
      expect(statuses).not.toContain('UP');
      expect(up).toBe(0);
    }
    expect(views.first).toMatchObject({
      healthy_count: 0,
      servers: [{ status: 'checking', last_check: '' }],
    });
    expect(views.statuses).toEqual(['checking', 'checking', 'checking', 'checking']);
    // The loop of a CI script ends only when a check has passed, and here none does.
    const seen = new Set<string>();
    await until(
      async () => {
        seen.add((await health('dead.example')).status);
        return seen.has('down');
      },
      { what: 'the status down' },
    );
    expect([...seen].filter((status) => status !== 'checking')).toEqual(['down']);
  });

  it('wait-healthy waits for the first check, and after the timeout says what is wrong', async () => {
    await add('live.example', backend.port);
    const healthy = await wait('live.example');
    expect(healthy).toMatchObject({ status: 'healthy', healthy_count: 1, matched: 'live.example' });
    expect(await statusOf('live.example')).toBe('UP');
    const dead = await wait('dead.example', 1);
    expect(dead).toMatchObject({ status: 'down', detail: expect.stringContaining('1 DOWN') as string });
    expect(dead.waited_ms).toBeGreaterThanOrEqual(1_000);
    expect((await suite.api('POST', '/domains/none.example/wait-healthy', {})).body).toMatchObject({
      code: 'domain_not_found',
    });
    for (const timeout of [0, 3601, 'x'])
      expect((await suite.api('POST', '/domains/live.example/wait-healthy', { timeout })).status).toBe(422);
    const asReader = await fetch(`${suite.url}/api/v1/domains/live.example/wait-healthy`, {
      method: 'POST',
      headers: { authorization: `Bearer ${READER}` },
    });
    expect(asReader.status).toBe(200);
  });

  it('a server that returns from maintenance is not healthy because of an earlier check', async () => {
    await suite.api('PUT', '/domains/dead.example/state', { state: 'maint' });
    expect(await health('dead.example')).toMatchObject({ status: 'down', servers: [{ status: 'MAINT' }] });
    await suite.api('PUT', '/domains/dead.example/state', { state: 'ready' });
    expect(['checking', 'down']).toContain((await health('dead.example')).status);
    await suite.api('PUT', '/domains/live.example/state', { state: 'maint' });
    await suite.api('PUT', '/domains/live.example/state', { state: 'ready' });
    expect((await wait('live.example')).status).toBe('healthy');
  });

  // The suite decides this by time, because HAProxy does not tell which address a check had.
  it.runIf(haproxy.version === oldestHaproxy().version)(
    'a server with a new address is not healthy because of a check of its former address',
    async () => {
      await suite.api('PUT', '/domains/live.example', { ip: '127.0.0.1', http_port: DEAD });
      expect((await health('live.example')).status).toBe('checking');
      expect((await wait('live.example', 5)).status).not.toBe('healthy');
      await suite.api('PUT', '/domains/live.example', { ip: '127.0.0.1', http_port: backend.port });
      expect((await wait('live.example')).status).toBe('healthy');
    },
  );

  it('a domain is down with the reason if all weights are 0, and degraded if one server gets requests', async () => {
    await suite.api('PUT', '/domains/live.example/servers/1/weight', { weight: 0 });
    expect((await get(home.httpPort, 'live.example')).status).toBe(503);
    expect(await health('live.example')).toMatchObject({
      status: 'down',
      healthy_count: 0,
      detail: expect.stringContaining('weights are 0') as string,
    });
    expect((await sites()).down).toContain('live.example');
    await suite.api('POST', '/domains/live.example/servers', { ip: '127.0.0.1', http_port: backend.port });
    await until(async () => (await health('live.example')).healthy_count === 1, {
      what: 'the second server',
    });
    expect(await health('live.example')).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('with weight 0') as string,
    });
    await suite.api('PUT', '/domains/live.example/servers/1/weight', { weight: 1 });
    expect((await wait('live.example')).status).toBe('healthy');
  });

  it('a server without a check never counts as healthy, and a tracked check counts', async () => {
    const lines = [
      {
        domain: 'unchecked.example',
        pool: 'pool_90',
        servers: [{ slot: 1, ip: '127.0.0.1', http_port: backend.port }],
      },
      {
        domain: 'tracks.example',
        pool: 'pool_91',
        servers: [{ slot: 1, ip: '127.0.0.1', http_port: backend.port }],
      },
    ];
    expect((await suite.api('POST', '/import', lines)).status).toBe(200);
    const unchecked = await wait('unchecked.example');
    expect(unchecked).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('without a health check') as string,
      servers: [{ status: 'no check' }],
    });
    // Waiting cannot help.
    expect(unchecked.waited_ms).toBeLessThan(30_000);
    expect((await wait('tracks.example')).status).toBe('healthy');
    expect((await sites()).down).not.toContain('unchecked.example');
  });

  it('a host under a wildcard is answered by the wildcard', async () => {
    await add('*.apps.example', backend.port);
    expect(await wait('foo.apps.example')).toMatchObject({ status: 'healthy', matched: '*.apps.example' });
    expect(await health('foo.apps.example')).toMatchObject({
      domain: 'foo.apps.example',
      matched: '*.apps.example',
    });
    expect((await suite.api('GET', '/domains/a.foo.apps.example/health')).status).toBe(404);
    expect((await suite.api('GET', '/domains/apps.example/health')).status).toBe(404);
  });

  it('/health names the domains that are down, and those that an operator set to maintenance', async () => {
    await add('empty.example');
    await add('repair.example', backend.port);
    await suite.api('PUT', '/domains/repair.example/state', { state: 'maint' });
    const found = await until(
      async () => {
        const component = await sites();
        return component.down.length === 1 && component.maintenance.length === 1 && component;
      },
      { timeout: 5_000, what: 'the domain that is down' },
    );
    expect(found).toMatchObject({
      status: 'degraded',
      down: ['dead.example'],
      down_total: 1,
      maintenance: ['repair.example'],
      no_servers_total: 1,
    });
    expect(found.detail).toContain('dead.example');
    const metrics = await until(
      async () => {
        const headers = { authorization: `Bearer ${READER}` };
        const text = await (await fetch(`${suite.url}/metrics`, { headers })).text();
        return text.includes('haproxy_suite_domains_down 1') && text;
      },
      { what: 'the metrics' },
    );
    for (const line of [
      'haproxy_suite_servers_down 1',
      'haproxy_suite_domains_in_maintenance 1',
      'haproxy_suite_domains_without_servers 1',
      'haproxy_suite_domain_info_omitted 0',
      'haproxy_suite_domain_info{domain="unchecked.example",pool="pool_90"} 1',
    ])
      expect(metrics.split('\n')).toContain(line);
    await suite.api('DELETE', '/domains/dead.example');
    await until(async () => (await sites()).status === 'healthy', { timeout: 5_000, what: 'healthy sites' });
    // A domain in maintenance on purpose is not a problem, but it is named.
    expect((await sites()).detail).toContain('repair.example');
  });

  it.each([
    ['host=LIVE.example.:8080', 'live.example', undefined, 'A server of'],
    ['host=foo.apps.example', '*.apps.example', undefined, 'A server of'],
    ['host=empty.example', 'empty.example', 503, 'has no server'],
    ['host=repair.example', 'repair.example', 503, 'can get requests'],
    ['host=unchecked.example', 'unchecked.example', undefined, 'has not passed'],
    ['host=nobody.example', undefined, 404, 'No domain matches'],
    ['host=[2001:db8::1]:80', undefined, 404, 'No domain matches'],
    ['host=.live.example', undefined, 404, 'No domain matches'],
    ['host=live', undefined, 404, 'No domain matches'],
    ['host=mcp.example', undefined, 404, 'only the path /mcp'],
    ['host=mcp.example&path=/mcp', undefined, undefined, 'The suite itself'],
  ])('explain %s > domain %s, status %s', async (query, domain, status, reason) => {
    const answer = await explain(query);
    expect(answer.domain).toBe(domain);
    expect(answer.answer.status).toBe(status);
    expect(answer.answer.reason).toContain(reason);
    // What a visitor gets.
    const parameters = new URLSearchParams(query);
    const host = parameters.get('host') ?? '';
    const got = await get(home.httpPort, host, parameters.get('path') ?? '/');
    if (host !== 'mcp.example') expect(got.status).toBe(status ?? 200);
    expect(answer.steps[0]?.rule).toBe('host');
  });

  it('explain shows servers, the certificate, differences from the saved state, and refuses what is no host', async () => {
    const answer = await explain('host=foo.apps.example&ip=192.0.2.7');
    expect(answer).toMatchObject({
      servers: [{ address: `127.0.0.1:${backend.port}`, status: 'UP', used: true }],
      certificate: { domain: 'apps.example', loaded: true },
    });
    expect(answer.steps.map(({ rule }) => rule)).toEqual([
      'host',
      'client',
      'domain',
      'pool',
      'servers',
      'certificate',
    ]);
    const missing = (await explain('host=live.example')).steps.at(-1);
    expect(missing).toMatchObject({ rule: 'certificate', outcome: 'problem' });
    expect(missing?.detail).toContain('strict-sni');
    for (const query of [
      '',
      'host=',
      'host=https://a.example',
      'host=a%20b',
      'host=a,b',
      'host=a&path=x',
      'host=a&ip=x',
    ])
      expect((await suite.api('GET', `/explain?${query}`)).status, query).toBe(422);
    for (const query of ['host=a%3Bshow%20info', 'host=a%0Ashow'])
      expect((await suite.api('GET', `/explain?${query}`)).status, query).toBe(422);
    expect((await explain('host=a%3Bb')).answer.status).toBe(404);
    expect(await readFile(home.file('servers.json'), 'utf8')).not.toContain('nobody');
  });

  it('nothing is healthy while HAProxy accepts no connection, or all of its connections are in use', async () => {
    const overall = async () => (await suite.api<Overall>('GET', '/health')).body;
    const answers = async () => ({
      haproxy: (await overall()).components.haproxy,
      sites: await sites(),
      site: await health('live.example'),
      explained: await explain('host=live.example'),
    });
    expect((await wait('live.example')).status).toBe('healthy');

    await live('disable frontend web');
    const paused = await answers();
    for (const one of [paused.haproxy, paused.sites, paused.site, await wait('live.example', 1)])
      expect(one).toMatchObject({
        status: 'down',
        detail: expect.stringMatching(/web is paused.*POST \/api\/v1\/configuration\/reload/),
      });
    expect(paused.explained).toMatchObject({
      answer: { reason: expect.stringContaining('accepts no connection') },
      steps: expect.arrayContaining([expect.objectContaining({ rule: 'frontend', outcome: 'problem' })]),
    });
    await live('enable frontend web');

    // One visitor holds the only connection.
    await live('set maxconn frontend web 1');
    const slow = get(home.httpPort, 'live.example', '/held');
    await until(async () => (await overall()).components.haproxy.status === 'degraded', {
      what: 'a full frontend',
    });
    const full = await answers();
    for (const one of [full.haproxy, full.sites, full.site])
      expect(one).toMatchObject({
        status: 'degraded',
        detail: expect.stringMatching(/1 connections in use.*maxconn/),
      });
    expect(full.explained.answer.reason).toMatch(/^Visitors wait/);
    await live('set maxconn frontend web 1000');
    await live('set maxconn global 1');
    expect((await answers()).haproxy).toMatchObject({
      status: 'degraded',
      detail: expect.stringMatching(/all of its 1 connections in use/),
    });
    await live('set maxconn global 1000');
    backend.release('/held');
    expect((await slow).status).toBe(200);

    if (hasDynamicBackends(haproxy.version)) {
      const pool = (await explain('host=live.example')).pool;
      await live(`unpublish backend ${pool}`);
      const hidden = await answers();
      expect((await get(home.httpPort, 'live.example')).status).toBe(404);
      expect(hidden.site).toMatchObject({
        status: 'down',
        detail: expect.stringContaining('unpublish backend'),
      });
      expect(hidden.explained.answer.status).toBe(404);
      await live(`publish backend ${pool}`);
    }

    // What the answers say to do helps.
    await live('shutdown frontend web');
    const stopped = await answers();
    for (const one of [stopped.haproxy, stopped.sites, stopped.site])
      expect(one).toMatchObject({
        status: 'down',
        detail: expect.stringMatching(/web is stopped.*POST \/api\/v1\/configuration\/reload/),
      });
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    expect((await wait('live.example')).status).toBe('healthy');
    expect((await get(home.httpPort, 'live.example')).status).toBe(200);
  });

  it('after a reload, servers are checking until the new worker has checked them, and nothing is down', async () => {
    expect((await health('live.example')).status).toBe('healthy');
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    const after = await health('live.example');
    expect(['checking', 'degraded', 'healthy']).toContain(after.status);
    if (after.status === 'healthy')
      expect(after.servers.every(({ last_check }) => last_check !== '')).toBe(true);
    expect((await sites()).down).toEqual([]);
    expect((await wait('live.example')).status).toBe('healthy');
  });
});
