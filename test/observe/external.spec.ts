import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DriftService } from '../../src/sync/drift.service.js';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { get } from '../kit/traffic/request.js';
import { type RunningHaproxy, startHaproxy } from '../kit/haproxy/start-haproxy.js';
import { confFile, type Observed, observe, tamper } from './fixture.js';

/** Names that the map of the operator routes, each to `one`. */
const SERVED = [
  'my_app.example.com',
  'static.example.com',
  'intranet',
  '10.0.0.9',
  'a.wild.example',
  'named.example',
];

describe.each(haproxyVersions())(
  'a map with names of every form, adopted from HAProxy $version',
  (binary) => {
    let haproxy: RunningHaproxy;
    let suite: Observed;
    let one: Backend;
    let two: Backend;

    const bodyOf = async (host: string) => (await get(haproxy.httpPort, host)).body;
    const served = async () =>
      Object.fromEntries(await Promise.all(SERVED.map(async (host) => [host, await bodyOf(host)])));
    const liveMap = async () =>
      (await tamper(haproxy, `show map ${haproxy.mapFile}`))
        .split('\n')
        .map((line) => line.split(' ').slice(1).join(' '))
        .filter((line) => line !== '')
        .toSorted();
    const start = async () => {
      suite = await observe(haproxy, { HAPROXY_POOL_COUNT: '8' });
      await suite.untilReady();
    };
    const all = Object.fromEntries(SERVED.map((host) => [host, 'one']));
    let before: string[];

    beforeAll(async () => {
      [one, two] = [await startBackend('one'), await startBackend('two')];
      const server = `127.0.0.1:${one.port}`;
      haproxy = await startHaproxy(binary, {
        pools: 0,
        poolsText: `backend pool_2 from pools
  server pool_2_1 ${server}
backend pool_3 from pools
  server pool_3_1 ${server} weight 5
backend pool_4 from pools
  server web ${server}
backend pool_6 from pools
  server pool_6_1 ${server}
backend be_static from pools
  server s1 ${server}
${[1, 5, 7, 8].map((n) => `backend pool_${n} from pools\n`).join('')}backend be_tcp
  mode tcp
  timeout connect 1s
  timeout server 1s
  server s1 ${server}
`,
        map: `# names of the operator
my_app.example.com pool_2
static.example.com be_static
intranet pool_3
10.0.0.9 be_static
.wild.example pool_2
a.wild.example pool_2
named.example pool_4
UPPER.example pool_2
example.com/api pool_6
^x[0-9]+$ be_static
gone.example be_gone
static.example.com pool_3
`,
      });
      before = await liveMap();
      expect(await served()).toEqual(all);
      await start();
    });

    afterAll(async () => {
      await suite.close();
      await haproxy.stop();
      await Promise.all([one.close(), two.close()]);
    });

    it('serves and lists every name, and changes nothing in HAProxy', async () => {
      expect(await served()).toEqual(all);
      expect(await liveMap()).toEqual(before);
      await suite.app.get(DriftService).check();
      expect(await liveMap()).toEqual(before);
      const { body } = await suite.api('GET', '/domains?include_wildcards=true');
      expect(body).toMatchObject({
        total: 7,
        items: [
          { domain: '*.wild.example', pool: 'pool_2', external: false },
          { domain: '10.0.0.9', pool: 'be_static', external: true, shared_with: ['static.example.com'] },
          { domain: 'a.wild.example', pool: 'pool_2' },
          { domain: 'intranet', pool: 'pool_3', server_count: 1 },
          { domain: 'my_app.example.com', pool: 'pool_2' },
          { domain: 'named.example', pool: 'pool_4', external: true },
          { domain: 'static.example.com', pool: 'be_static', external: true, server_count: 0 },
        ],
      });
    });

    it('writes files that have every entry, and reports what it does not manage', async () => {
      const map = (await readFile(confFile(haproxy, 'domains.map'), 'utf8')).split('\n');
      for (const line of new Set(before))
        if (line !== 'static.example.com pool_3') expect(map).toContain(line);
      expect(JSON.parse(await readFile(confFile(haproxy, 'servers.json'), 'utf8'))).toMatchObject({
        version: 2,
        pools: {
          be_static: { external: true, domains: ['static.example.com', '10.0.0.9'] },
          pool_4: { external: true, domains: ['named.example'] },
        },
      });
      expect(await readFile(confFile(haproxy, 'pools.cfg'), 'utf8')).not.toMatch(/be_static|pool_4|pool_6/);
      expect(JSON.parse(await readFile(suite.settings.files.adoption, 'utf8'))).toMatchObject({
        domains: 7,
        external_domains: 3,
        reserved_pools: expect.arrayContaining(['pool_4', 'pool_6']) as unknown,
        kept_entries: [
          ['UPPER.example', 'pool_2'],
          ['example.com/api', 'pool_6'],
          ['^x[0-9]+$', 'be_static'],
          ['gone.example', 'be_gone'],
        ],
      });
    });

    it('answers every operation on a domain of an external pool', async () => {
      const status = async (method: string, path: string, body?: object) => {
        const answer = await suite.api<{ code?: string }>(method, path, body);
        return `${answer.status} ${answer.body.code ?? ''}`.trim();
      };
      const servers = '/domains/static.example.com/servers';
      const server = { ip: '10.0.0.1' };
      expect(await status('POST', servers, server)).toBe('409 pool_external');
      expect(await status('POST', `${servers}/bulk`, { servers: [server] })).toBe('409 pool_external');
      expect(await status('GET', servers)).toBe('409 pool_external');
      expect(await status('DELETE', `${servers}/1`)).toBe('409 pool_external');
      expect(await status('PUT', `${servers}/1/weight`, { weight: 3 })).toBe('409 pool_external');
      expect(await status('PUT', `${servers}/1/state`, { state: 'maint' })).toBe('409 pool_external');
      expect(await status('POST', `${servers}/1/wait-drain`, {})).toBe('409 pool_external');
      expect(await status('PUT', '/domains/static.example.com/state', { state: 'maint' })).toBe(
        '409 pool_external',
      );
      expect(await status('GET', '/servers/health?domain=static.example.com')).toBe('409 pool_external');
      expect((await suite.api('GET', '/domains/static.example.com/health')).body).toMatchObject({
        status: 'degraded',
        pool: 'be_static',
        healthy_count: 0,
        total: 1,
        servers: [],
        detail: expect.stringContaining('s1 no check') as unknown,
      });
      expect((await suite.api('GET', '/stats?scope=backend')).body).toMatchObject({
        items: expect.arrayContaining([
          expect.objectContaining({ name: 'be_static' }),
          expect.objectContaining({ name: 'pool_4' }),
        ]) as unknown,
      });
      const { body: backends } = await suite.api<{ items: { name: string }[] }>(
        'GET',
        '/backends?in_use=true',
      );
      expect(backends).toMatchObject({ pools_in_use: 2 });
      expect(backends.items.map(({ name }) => name)).toEqual(['pool_2', 'pool_3', 'pool_4', 'be_static']);
      expect((await suite.api('GET', '/domains?pool=be_static')).body).toMatchObject({ total: 2 });
      expect((await suite.api('GET', '/connections')).body).toMatchObject({ total: 4 });
      expect((await suite.api('GET', '/health')).body).toMatchObject({ components: { drift: { count: 0 } } });
    });

    it('adds and removes domains that point at a backend of the operator', async () => {
      const add = (body: object) => suite.api<Record<string, unknown>>('POST', '/domains', body);
      const domain = 'new.example';
      const refusals: [object, RegExp][] = [
        [{ backend: 'be_gone' }, /HAProxy has no backend be_gone/],
        [{ backend: 'be_tcp' }, /has mode tcp/],
        [{ backend: 'pool_2' }, /pool_2 is a pool of the suite/],
        [{ backend: 'unknown_host' }, /suite's own rules/],
        [{ backend: 'be_static', ip: '10.0.0.1' }, /Give only one of/],
        [{ backend: 'be static' }, /name of a backend/],
      ];
      for (const [body, reason] of refusals) {
        const answer = await add({ domain, ...body });
        expect(answer.status).toBe(422);
        expect(JSON.stringify(answer.body)).toMatch(reason);
      }
      expect((await add({ domain, backend: 'be_static', dry_run: true })).body).toMatchObject({
        plan: expect.arrayContaining([
          expect.objectContaining({ text: 'new.example is routed to be_static' }),
        ]) as unknown,
      });
      expect((await add({ domain, backend: 'be_static' })).body).toMatchObject({ external: true });
      expect((await add({ domain: 'www.new.example', share_with: domain })).body).toMatchObject({
        pool: 'be_static',
      });
      expect(await bodyOf('www.new.example')).toBe('one');
      // A restart of the suite finds no difference.
      await suite.close();
      await start();
      expect((await suite.app.get(DriftService).check())?.count).toBe(0);
      for (const name of [domain, 'www.new.example'])
        expect((await suite.api('DELETE', `/domains/${name}`)).status).toBe(200);
      expect((await get(haproxy.httpPort, domain)).status).toBe(503);
      // HAProxy reads an older map again: the entry is not the operator's.
      await tamper(haproxy, `add map ${haproxy.mapFile} ${domain} be_static`);
      expect((await suite.api('POST', '/state/restore')).status).toBe(200);
      expect(await liveMap()).toEqual(before);
      // No new domain gets a pool that a kept entry or an external pool uses.
      const pools: unknown[] = [];
      for (let n = 1; n <= 4; n += 1) pools.push((await add({ domain: `d${n}.example` })).body['pool']);
      expect(pools).toEqual(['pool_1', 'pool_5', 'pool_7', 'pool_8']);
      for (const name of ['d1.example', 'd2.example']) await suite.api('DELETE', `/domains/${name}`);
      // The domain of a pool with servers of the operator goes, and its servers stay.
      expect((await suite.api('DELETE', '/domains/named.example')).status).toBe(200);
      expect(await tamper(haproxy, 'show servers state pool_4')).toContain(' web 127.0.0.1 2 0 ');
      expect(
        (await add({ domain: 'named.example', ip: '127.0.0.1', http_port: two.port })).body,
      ).toMatchObject({
        pool: 'pool_1',
      });
    });

    it('exports and imports external pools, pool options and sites', async () => {
      const text = async () => (await fetchExport(suite)).trim().split('\n');
      const lines = await text();
      expect(lines).toContain('{"domain":"static.example.com","backend":"be_static"}');
      const records = [
        ...lines.map((line) => JSON.parse(line) as object),
        { domain: 'opt.example', options: { retries: 2 }, site: { labels: { team: 'web' } } },
        { domain: 'ext.example', backend: 'be_static', site: { labels: { team: 'ext' } } },
      ];
      expect((await suite.api('POST', '/import?mode=replace', records)).status).toBe(200);
      const full = await text();
      expect(full).toHaveLength(lines.length + 2);
      expect(full.join('\n')).toContain('"options":{"retries":2},"site":{"labels":{"team":"web"}}');
      expect(
        (
          await suite.api(
            'POST',
            '/import?mode=replace',
            full.map((line) => JSON.parse(line) as object),
          )
        ).body,
      ).toMatchObject({ domains_added: 0, domains_moved: 0, domains_removed: 0, servers_changed: 0 });
      const refused = await suite.api('POST', '/import', [{ domain: 'x.example', backend: 'be_gone' }]);
      expect(refused.status).toBe(422);
      expect((await suite.api('DELETE', '/domains/opt.example')).status).toBe(200);
      await suite.close();
      await start();
      const state = await readFile(confFile(haproxy, 'servers.json'), 'utf8');
      expect(JSON.parse(state)).toMatchObject({ sites: { 'ext.example': { labels: { team: 'ext' } } } });
      expect(state).not.toContain('retries');
    });
  },
);

async function fetchExport(suite: Observed): Promise<string> {
  return (await suite.text('/api/v1/export')).text;
}
