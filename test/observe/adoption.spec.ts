import { existsSync } from 'node:fs';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { LoggerService } from '@nestjs/common';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PersistenceService } from '../../src/persistence/persistence.service.js';
import { DriftService } from '../../src/sync/drift.service.js';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { haproxyVersions, oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { get } from '../kit/traffic/request.js';
import { type RunningHaproxy, startHaproxy } from '../kit/haproxy/start-haproxy.js';
import { confFile, type Observed, observe, tamper } from './fixture.js';

const [POOLS, SLOTS] = [100, 10];

/** An older installation without the suite: haproxy.cfg declares every pool and slot, and servers are set at run time. */
function staticPools(): string {
  let text = 'backend mcp from pools\n  server mcp 127.0.0.1:9\n';
  for (let pool = 1; pool <= POOLS; pool += 1) {
    text += `backend pool_${pool} from pools\n  balance roundrobin\n`;
    for (let slot = 1; slot <= SLOTS; slot += 1)
      text += `  server pool_${pool}_${slot} 0.0.0.0:80 check disabled\n`;
  }
  return text;
}

/** The commands that put a server into a static slot. */
const fill = (pool: number, slot: number, port: number, weight = 1) => [
  `set server pool_${pool}/pool_${pool}_${slot} addr 127.0.0.1 port ${port}`,
  `set server pool_${pool}/pool_${pool}_${slot} weight ${weight}`,
  `set server pool_${pool}/pool_${pool}_${slot} state ready`,
];

describe.each(haproxyVersions())('adopting an existing HAProxy $version', (binary) => {
  let haproxy: RunningHaproxy;
  let suite: Observed | undefined;
  let one: Backend;
  let two: Backend;

  const bodyOf = async (host: string) => (await get(haproxy.httpPort, host)).body;
  const conf = (name: string) => confFile(haproxy, name);
  const live = async () => {
    const servers = await tamper(haproxy, 'show servers state');
    const fields = servers
      .split('\n')
      .slice(2)
      .map((line) => line.split(' '));
    const map = await tamper(haproxy, `show map ${haproxy.mapFile}`);
    return {
      servers: fields.map((field) => [field[3], field[4], field[18], field[6], field[7]].join(' ')),
      map: map.split('\n').map((line) => line.split(' ').slice(1).join(' ')),
    };
  };
  const start = async (logger: LoggerService | false = false) => {
    suite = await observe(haproxy, { HAPROXY_POOL_COUNT: String(POOLS) }, logger);
    await suite.untilReady();
    return suite;
  };

  const startBoth = async () => {
    [one, two] = [await startBackend('one'), await startBackend('two')];
    haproxy = await startHaproxy(binary, {
      pools: 0,
      poolsText: staticPools(),
      map: 'old.example pool_1\n.wild.example pool_2\n',
    });
    await tamper(
      haproxy,
      ...fill(1, 1, one.port, 7),
      ...fill(1, 4, two.port),
      'set server pool_1/pool_1_4 state drain',
      ...fill(2, 1, two.port),
      'set server pool_2/pool_2_1 state maint',
      ...fill(9, 1, two.port),
      `add map ${haproxy.mapFile} new.example pool_1`,
      `add map ${haproxy.mapFile} empty.example pool_3`,
      `add map ${haproxy.mapFile} mcp.example mcp`,
      `add map ${haproxy.mapFile} UPPER.example pool_1`,
    );
  };
  const stopBoth = async () => {
    await suite?.close();
    suite = undefined;
    await haproxy.stop();
    await Promise.all([one.close(), two.close()]);
  };

  // Each test continues where the one before ended.
  describe('without a change by a caller', () => {
    beforeAll(startBoth);
    afterAll(stopBoth);

    it('adopts everything that fits and changes nothing in HAProxy', async () => {
      await writeFile(conf('domains.map'), 'old.example pool_1\nonly-in-file.example pool_5\n');
      const before = await live();
      const warnings: unknown[] = [];
      const running = await start({
        log: () => undefined,
        warn: (line: unknown) => warnings.push(line),
        error: () => undefined,
      });
      const api = (method: string, path: string) => running.api(method, path);
      expect(await live()).toEqual(before);
      await running.app.get(DriftService).check();
      expect(await live()).toEqual(before);

      const { body: domains } = await api('GET', '/domains?include_wildcards=true');
      expect(domains).toMatchObject({
        total: 5,
        items: [
          { domain: '*.wild.example', pool: 'pool_2', server_count: 1 },
          { domain: 'empty.example', pool: 'pool_3', server_count: 0 },
          { domain: 'mcp.example', pool: 'mcp', external: true, server_count: 0 },
          { domain: 'new.example', pool: 'pool_1', shared_with: ['old.example'] },
          { domain: 'old.example', pool: 'pool_1', server_count: 2 },
        ],
      });
      const { body: servers } = await api('GET', '/domains/old.example/servers');
      expect(servers).toMatchObject({
        items: [
          { slot: 1, ip: '127.0.0.1', http_port: one.port, weight: 7, state: 'ready' },
          { slot: 4, http_port: two.port, weight: 1, state: 'drain' },
        ],
      });
      expect((await api('GET', '/domains/*.wild.example/servers')).body).toMatchObject({
        items: [{ state: 'maint', http_port: two.port }],
      });

      const adoptions = warnings.filter((line) => String(line).includes('the suite adopts'));
      expect(adoptions).toHaveLength(1);
      for (const part of [
        '5 domains in 4 pools with 3 servers (and 996 free slots); 1 of the domains point at backends of haproxy.cfg',
        'UPPER.example pool_1: UPPER.example is not a domain',
        'pool_9: has 1 server(s) in service, and no domain points at it',
      ])
        expect(adoptions[0]).toContain(part);
    });

    it('writes files that HAProxy can start from, and keeps a copy of the old map', async () => {
      expect(await readFile(conf('pools.cfg'), 'utf8')).not.toContain('backend');
      expect(await readFile(conf('domains.map'), 'utf8')).toBe(
        'old.example pool_1\nnew.example pool_1\n.wild.example pool_2\nempty.example pool_3\nmcp.example mcp\n' +
          'UPPER.example pool_1\n',
      );
      expect(await readFile(`${conf('domains.map')}.before-adoption`, 'utf8')).toContain(
        'only-in-file.example',
      );
      await promisify(execFile)(binary.path, ['-c', '-f', conf('haproxy.cfg'), '-f', conf('pools.cfg')]);
    });

    it('does not change what it did not adopt, even after a restart of the suite', async () => {
      const before = await live();
      await suite?.close();
      await start();
      expect(await live()).toEqual(before);
      expect(JSON.parse(await readFile(suite?.settings.files.adoption ?? '', 'utf8'))).toMatchObject({
        source: 'the running HAProxy',
        domains: 5,
        external_domains: 1,
        kept_entries: [['UPPER.example', 'pool_1']],
        left_pools: ['pool_9'],
      });
    });

    it('writes the pools to pools.cfg when haproxy.cfg no longer declares them', async () => {
      const config = await readFile(conf('haproxy.cfg'), 'utf8');
      await writeFile(conf('haproxy.cfg'), config.replace(staticPools(), ''));
      await suite?.app.get(DriftService).check();
      const pools = await readFile(conf('pools.cfg'), 'utf8');
      expect(pools.match(/^backend pool_/gm)).toHaveLength(POOLS);
      expect(pools).toContain(`server pool_1_1 127.0.0.1:${one.port} weight 7 check`);
      await promisify(execFile)(binary.path, ['-c', '-f', conf('haproxy.cfg'), '-f', conf('pools.cfg')]);
    });
  });

  describe('with a new HAProxy for each test', () => {
    beforeEach(startBoth);
    afterEach(stopBoth);

    it('adds, changes and removes servers and domains in static slots after adoption', async () => {
      const running = await start();
      const { app } = running;
      const ok = async (method: string, path: string, body?: object) => {
        const answer = await running.api(method, path, body);
        expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
        return answer.body;
      };
      expect(await bodyOf('old.example')).toBe('one');
      // Adding a server sets the address of a free static slot.
      await ok('POST', '/domains/empty.example/servers', { ip: '127.0.0.1', http_port: two.port });
      expect(await bodyOf('empty.example')).toBe('two');
      await ok('PUT', '/domains/old.example/servers/4/state', { state: 'ready' });
      await ok('PUT', '/domains/old.example/servers/1/state', { state: 'maint' });
      expect(await bodyOf('new.example')).toBe('two');
      await ok('PUT', '/domains/old.example/servers/1/weight', { weight: 3 });
      await ok('PUT', '/domains/old.example/servers/1/state', { state: 'ready' });
      await ok('DELETE', '/domains/old.example/servers/4');
      expect(await bodyOf('old.example')).toBe('one');
      await ok('POST', '/domains/old.example/servers', { slot: 4, ip: '127.0.0.1', http_port: two.port });
      await ok('DELETE', '/domains/old.example');
      await ok('DELETE', '/domains/new.example');
      await ok('POST', '/domains', { domain: 'fresh.example', ip: '127.0.0.1', http_port: two.port });
      expect(await bodyOf('fresh.example')).toBe('two');
      // Pools 1 to 8 are used first. pool_9 has a server without a domain, which is removed when a domain gets the pool.
      for (let n = 4; n <= 9; n += 1)
        await ok('POST', '/domains', { domain: `d${n}.example`, ip: '127.0.0.1', http_port: one.port });
      expect(await bodyOf('d9.example')).toBe('one');
      expect(app.get(PersistenceService).state.poolOf('d9.example')).toBe('pool_9');
      expect((await app.get(DriftService).check())?.count).toBe(0);
      // A domain that points at a backend of the operator can move to a pool.
      await ok('DELETE', '/domains/mcp.example');
      expect((await get(haproxy.httpPort, 'mcp.example')).status).toBe(503);
      await ok('POST', '/domains', { domain: 'mcp.example', share_with: 'd9.example' });
      expect(await bodyOf('mcp.example')).toBe('one');
    });

    it.runIf(binary.version === oldestHaproxy().version)(
      'writes nothing while HAProxy does not answer, and adopts it when it answers',
      async () => {
        const socket = `${haproxy.home}/run/elsewhere.sock`;
        suite = await observe(haproxy, { HAPROXY_SOCKET: socket, HAPROXY_POOL_COUNT: String(POOLS) });
        const map = await readFile(conf('domains.map'), 'utf8');
        expect((await suite.api('POST', '/domains', { domain: 'x.example' })).body).toMatchObject({
          code: 'haproxy_unavailable',
        });
        expect((await suite.tool<{ status: string }>('haproxy_health')).status).toBe('down');
        expect(existsSync(conf('servers.json'))).toBe(false);
        expect(existsSync(conf('pools.cfg'))).toBe(true);
        expect(await readFile(conf('domains.map'), 'utf8')).toBe(map);
        await symlink(haproxy.socket, socket);
        await suite.untilReady();
        expect((await suite.api('GET', '/domains')).body).toMatchObject({ total: 4 });
        expect((await suite.api('POST', '/domains', { domain: 'x.example' })).status).toBe(201);
        expect(JSON.parse(await readFile(conf('servers.json'), 'utf8'))).toMatchObject({
          revision: 2,
        });
      },
    );
  });
});

describe.each(haproxyVersions())('adopting HAProxy $version with a backend named pool_1000000', (binary) => {
  it('adopts the domain of the backend, and the next start of the suite succeeds', async () => {
    const own = await startBackend('own');
    const haproxy = await startHaproxy(binary, {
      poolsText: `backend pool_1000000 from pools\n  server pool_1000000_1 127.0.0.1:${own.port}\n`,
      map: 'own.example pool_1000000\na.example pool_1\n',
    });
    const answer = async () => (await get(haproxy.httpPort, 'own.example')).body;
    let suite: Observed | undefined;
    try {
      for (const start of ['first', 'second']) {
        suite = await observe(haproxy);
        await suite.untilReady();
        expect((await suite.api('GET', '/domains')).body, start).toMatchObject({
          items: [
            { domain: 'a.example', pool: 'pool_1', external: false },
            { domain: 'own.example', pool: 'pool_1000000', external: true },
          ],
        });
        expect(await answer(), start).toBe('own');
        await suite.close();
        suite = undefined;
      }
      expect(JSON.parse(await readFile(`${haproxy.home}/data/adoption.json`, 'utf8'))).toMatchObject({
        domains: 2,
        not_taken_over: [],
      });
    } finally {
      await suite?.close();
      await haproxy.stop();
      await own.close();
    }
  });
});
