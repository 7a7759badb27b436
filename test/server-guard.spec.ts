import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderConfig } from '../src/haproxy/config/haproxy-cfg.template.js';
import { loadSettings } from '../src/settings/settings.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { callTool } from './kit/suite/call-tool.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { itOnce } from './kit/haproxy/once.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Health {
  status: string;
  components: { mcp: { status: string; detail: string; forbidden_servers: string[] } };
}

/** A line of the state that an operator writes by hand. */
const poolJson = (domain: string, port: number) => ({
  domains: [domain],
  servers: { '1': { ip: '127.0.0.1', http_port: port, weight: 1, state: 'ready' } },
});

// Each test continues where the one before ended: one suite and one HAProxy for each version.
describe.each(haproxyVersions())(
  'servers that are HAProxy or a control port, HAProxy $version',
  (haproxy) => {
    let home: Home;
    let suite: Suite;
    let backend: Backend;
    let cliPort: number;
    let otherPort: number;

    const runtimeApi = async (...commands: string[]): Promise<string> => {
      const socket = connect(cliPort, '127.0.0.1');
      socket.end(`${commands.join(';')}\n`);
      return text(socket);
    };
    const servers = () => runtimeApi('show servers state');
    const savedText = () => readFile(home.file('servers.json'), 'utf8');
    const findings = async () =>
      (await suite.api<Health>('GET', '/health')).body.components.mcp.forbidden_servers;

    beforeAll(async () => {
      backend = await startBackend('web');
      [cliPort, otherPort] = [await freePort(), await freePort()];
      home = await makeHome(haproxy, { HAPROXY_SOCKET: '', RECONCILE: 'report' });
      // An installation of version 0.1: a haproxy.cfg with a TCP port, and no setting about it after that.
      const settings = loadSettings({ ...home.env, HAPROXY_PORT: String(cliPort) });
      const config = renderConfig(settings, { ipv6: false });
      expect(config).toContain(`stats socket 127.0.0.1:${cliPort} `);
      await writeFile(home.file('haproxy.cfg'), config);
      suite = await Suite.start(home);
      await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: backend.port });
    });
    afterAll(async () => {
      await suite.stop();
      await home.remove();
      await backend.close();
    });

    it('are refused on every way in, and nothing changes', async () => {
      const before = await savedText();
      const own = Object.values(networkInterfaces())
        .flatMap((list) => list ?? [])
        .filter(({ internal, scopeid }) => !internal && !scopeid)
        .map(({ address }) => address);
      const control = ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1', ...own];
      const cases = [
        ...control.map((ip) => ({ ip, http_port: cliPort, code: 'server_is_control' })),
        { ip: '127.0.0.1', http_port: home.apiPort, code: 'server_is_control' },
        { ip: '127.0.0.1', http_port: home.httpPort, code: 'server_is_haproxy' },
        { ip: '::ffff:7f00:1', http_port: home.httpPort, code: 'server_is_haproxy' },
      ];
      for (const { code, ...address } of cases) {
        const given = JSON.stringify(address);
        const answer = await suite.api('POST', '/domains', { domain: 'n.example', ...address });
        expect(answer, given).toMatchObject({ status: 422, body: { code } });
        if (address.http_port === home.apiPort) expect(answer.body['detail']).toContain('MCP_PUBLIC_HOST');
      }
      for (const port of [cliPort, home.httpPort]) {
        const code = port === cliPort ? 'server_is_control' : 'server_is_haproxy';
        const bad = { ip: '127.0.0.1', http_port: port };
        const good = { ip: '127.0.0.1', http_port: backend.port };
        const requests: [string, string, unknown][] = [
          ['PUT', '/domains/n.example', bad],
          ['PUT', '/domains/a.example', bad],
          ['POST', '/domains?dry_run=true', { domain: 'n.example', ...bad }],
          ['POST', '/domains/a.example/servers', bad],
          ['POST', '/domains/a.example/servers/bulk', { servers: [good, bad] }],
          ['POST', '/import', [{ domain: 'i.example', ...bad }]],
          ['POST', '/import', [{ domain: 'i.example', servers: [good, { ...bad, state: 'maint' }] }]],
          ['POST', '/import?mode=replace', [{ domain: 'i.example', ...bad }]],
          ['POST', '/import?dry_run=true', [{ domain: 'i.example', ...bad }]],
        ];
        for (const [method, path, body] of requests)
          expect(await suite.api(method, path, body), `${method} ${path}`).toMatchObject({
            status: 422,
            body: { code },
          });
        const skipped = await suite.api('POST', '/import?on_error=skip&dry_run=true', [
          { domain: 'i.example', ...bad },
          { domain: 'j.example', ...good },
        ]);
        expect(skipped.body).toMatchObject({ skipped_count: 1, skipped: [{ code }] });
        const tool = await callTool(suite.url, await suite.token(), 'haproxy_add_servers', {
          domain: 'a.example',
          servers: JSON.stringify([bad]),
        });
        expect(tool).toMatchObject({ isError: true, structuredContent: { code } });
      }
      expect(await savedText()).toBe(before);
      expect((await get(home.httpPort, 'a.example')).body).toBe('web');
    });

    it('allows a frontend of the operator that does not route by the map', async () => {
      const config = await readFile(home.file('haproxy.cfg'), 'utf8');
      const own = `\nlisten own from suite_clients\n    bind 127.0.0.1:${otherPort}\n    http-request return status 200 content-type text/plain string own\n`;
      await writeFile(home.file('haproxy.cfg'), config + own);
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      const added = { domain: 'own.example', ip: '127.0.0.1', http_port: otherPort };
      expect((await suite.api('POST', '/domains', added)).status).toBe(201);
      expect((await get(home.httpPort, 'own.example')).body).toBe('own');
      expect(await findings()).toEqual([]);
    });

    it('haproxy_save_state does not save an address that became one at run time', async () => {
      const before = await savedText();
      await runtimeApi(`set server pool_1/pool_1_1 addr 127.0.0.1 port ${cliPort}`);
      await until(async () => (await servers()).includes(` ${cliPort} `));
      const saved = await suite.api('POST', '/state/save');
      expect(saved.body).toMatchObject({
        taken_over_count: 0,
        not_taken_over: [expect.stringMatching(/^pool_1_1: .* is the Runtime API of HAProxy/)],
      });
      expect((await suite.api('POST', '/state/restore')).status).toBe(200);
      expect(await savedText()).toBe(before);
    });

    it('are named by health when a reload makes a server one, and stay in use', async () => {
      const config = await readFile(home.file('haproxy.cfg'), 'utf8');
      const moved = config
        .replace(`bind 127.0.0.1:${otherPort}\n`, `bind unix@${home.path}/run/own.sock\n`)
        .replace(
          `bind 127.0.0.1:${home.httpPort}\n`,
          `bind 127.0.0.1:${home.httpPort},127.0.0.1:${otherPort}\n`,
        );
      await writeFile(home.file('haproxy.cfg'), moved);
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      expect(await findings()).toEqual([
        expect.stringMatching(
          /^pool_2_1 of own\.example: .* is HAProxy itself: .* of frontend web .* still uses it$/,
        ),
      ]);
      expect(await servers()).toContain(` ${otherPort} `);
      const join = await suite.api('POST', '/domains', { domain: 'b.example', share_with: 'own.example' });
      expect(join).toMatchObject({ status: 422, body: { code: 'server_is_haproxy' } });
      const state = (value: string) =>
        suite.api('PUT', '/domains/own.example/servers/1/state', { state: value });
      expect((await state('maint')).status).toBe(200);
      expect(await state('ready')).toMatchObject({ status: 422, body: { code: 'server_is_haproxy' } });
      expect((await suite.api('DELETE', '/domains/own.example')).status).toBe(200);
      expect(await findings()).toEqual([]);
    });

    itOnce(haproxy)(
      'does not give HAProxy a control port of an edited servers.json, and keeps it in the file',
      async () => {
        await suite.stop();
        const saved = JSON.parse(await savedText()) as { pools: Record<string, unknown> };
        saved.pools['pool_7'] = poolJson('evil.example', cliPort);
        saved.pools['pool_8'] = poolJson('loop.example', otherPort);
        await writeFile(home.file('servers.json'), JSON.stringify(saved));
        suite = await Suite.start(home);
        expect(await servers()).not.toContain(` ${cliPort} `);
        expect(await readFile(home.file('pools.cfg'), 'utf8')).not.toContain(`:${cliPort} `);
        expect(JSON.parse(await savedText())).toMatchObject({ pools: { pool_7: saved.pools['pool_7'] } });
        expect(await findings()).toEqual([
          expect.stringMatching(
            /^pool_7_1 of evil\.example: .* is the Runtime API .*; HAProxy does not get it$/,
          ),
          expect.stringMatching(/^pool_8_1 of loop\.example: .* is HAProxy itself/),
        ]);
        // An anonymous visitor sends commands of the Runtime API as a request.
        const attack = await get(home.httpPort, 'evil.example', '/;prompt;a', { A: ';disable frontend web' });
        expect(attack.status).toBe(503);
        expect((await get(home.httpPort, 'a.example')).body).toBe('web');
        const drain = await suite.api('PUT', '/domains/evil.example/servers/1/state', { state: 'drain' });
        expect(drain.status).toBe(200);
        const ready = await suite.api('PUT', '/domains/evil.example/servers/1/state', { state: 'ready' });
        expect(ready).toMatchObject({ status: 422, body: { code: 'server_is_control' } });
        const { status, body } = await suite.api<Health>('GET', '/health');
        expect([status, body.components.mcp.status]).toEqual([200, 'degraded']);
        for (const domain of ['evil.example', 'loop.example'])
          expect((await suite.api('DELETE', `/domains/${domain}`)).status).toBe(200);
      },
    );

    itOnce(haproxy)(
      'removes a control port that it adopts from HAProxy, and keeps it in servers.json',
      async () => {
        await suite.kill();
        await rm(home.file('servers.json'));
        const map = home.file('domains.map');
        await runtimeApi(
          `add server pool_5/pool_5_1 127.0.0.1:${cliPort}`,
          `set server pool_5/pool_5_1 state ready`,
          `add map ${map} evil.example pool_5`,
        );
        expect(await servers()).toContain(` ${cliPort} `);
        suite = await Suite.start(home);
        await until(async () => !(await servers()).includes(` ${cliPort} `));
        expect(await savedText()).toContain(`"http_port":${cliPort}`);
        expect(await findings()).toEqual([expect.stringMatching(/^pool_5_1 of evil\.example/)]);
        expect(suite.output).toMatch(/pool_5_1 of evil\.example: .* is the Runtime API/);
        expect((await get(home.httpPort, 'a.example')).body).toBe('web');
      },
    );
  },
);

it('A new installation in managed mode has the Runtime API on a unix socket only', async () => {
  const backend = await startBackend('web');
  const fresh = await makeHome(oldestHaproxy(), { HAPROXY_SOCKET: '' });
  let started = await Suite.start(fresh);
  const socket = join(fresh.path, 'run/haproxy.sock');
  expect((await stat(socket)).mode & 0o777).toBe(0o600);
  const config = await readFile(fresh.file('haproxy.cfg'), 'utf8');
  expect(config.match(/^ *stats socket .*$/gm)).toEqual([`    stats socket ${socket} mode 600 level admin`]);
  const loop = { domain: 'loop.example', ip: '127.0.0.1', http_port: fresh.httpPort };
  expect((await started.api('POST', '/domains', loop)).body['code']).toBe('server_is_haproxy');
  await started.api('POST', '/domains', {
    domain: 'a.example',
    ip: '127.0.0.1',
    http_port: backend.port,
  });
  await started.kill();
  started = await Suite.start(fresh);
  expect((await get(fresh.httpPort, 'a.example')).body).toBe('web');
  await started.stop();
  await fresh.remove();
  await backend.close();
});
