import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MasterCli } from '../src/haproxy/process/master-cli.js';
import type { ServerSpec } from '../src/model/server.js';
import { renderPool } from '../src/storage/formats/pools-cfg.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { itOnce } from './kit/haproxy/once.js';
import { Load } from './kit/traffic/load.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const SITE = 'a.example';
/** A site without load, so that the last headers are those of the test. */
const FORGED = 'forged.example';
/** The `dist/main.js` of a built suite 0.1 (CONTRIBUTING.md). Building it takes too long for each test run. */
const FORMER_SUITE = process.env['FORMER_SUITE'];
const FIXTURES = join(import.meta.dirname, 'fixtures');

interface Check {
  valid: boolean;
  errors: { message: string }[];
  warnings: { file: string | null; line: number | null; message: string }[];
}

describe.each(haproxyVersions())('an installation of version 0.1 with HAProxy $version', (haproxy) => {
  let home: Home;
  let one: Backend;
  let two: Backend;
  let load: Load;
  let suite: Suite | undefined;
  let old: string;
  const masters: number[] = [];

  const masterCli = () => new MasterCli({ path: join(home.path, 'run/master.sock') });
  const workerPid = async () => (await masterCli().processes())?.workers[0];

  /** The listening socket on the port. Another socket means that the kernel can drop connections between the two. */
  const listeningSocket = async () => {
    const port = home.httpPort.toString(16).toUpperCase().padStart(4, '0');
    const rows = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((row) => row.trim().split(/\s+/));
    const listening = rows.filter(([, local, , state]) => local?.endsWith(`:${port}`) && state === '0A');
    return new Set(listening.map((row) => row[9]));
  };
  /**
   * What docs/upgrade.md tells an operator to do before a restart without a gap: HAProxy offers its listening sockets.
   * HAProxy is reloaded with the former unit, so the frontend must not use the rules yet.
   */
  const exposeListeners = async () => {
    old = old.replace('level admin', 'level admin expose-fd listeners');
    await writeFile(home.file('haproxy.cfg'), old);
    expect(await masterCli().reload()).toMatchObject({ success: true });
  };
  /** Starts HAProxy from these files, in the place of the one that runs, as an operator restarts it without a gap. */
  const startMaster = async (names: readonly ('suite.cfg' | 'haproxy.cfg' | 'pools.cfg')[]) => {
    const before = masters.at(-1);
    const files = names.flatMap((name) => ['-f', home.file(name)]);
    const socket = join(home.path, 'run/master.sock');
    const args = ['-W', '-S', socket, '-p', join(home.path, 'run/haproxy.pid'), ...files];
    const handover = ['-x', join(home.path, 'run/haproxy.sock'), '-sf', String(before)];
    const child = spawn(haproxy.path, [...args, ...(before ? handover : [])], {
      stdio: 'ignore',
      detached: true,
    });
    child.unref();
    masters.push(child.pid ?? 0);
    await until(async () => (await masterCli().processes())?.master === child.pid, {
      what: 'the new master',
    });
    await until(async () => (await get(home.httpPort, SITE)).status === 200, { what: 'the site' });
  };
  /** Without the warning of HAProxy that there is no certificate yet. */
  const check = async (): Promise<Check | undefined> => {
    const body = (await suite?.api<Check>('POST', '/configuration/check'))?.body;
    return (
      body && {
        ...body,
        warnings: body.warnings.filter(({ message }) => !/no SSL certificate/.test(message)),
      }
    );
  };
  const health = async () => JSON.stringify((await suite?.api('GET', '/health'))?.body);
  /** What the server gets of a header that the client forged. */
  const forged = async () => {
    await get(home.httpPort, FORGED, '/', { 'x-real-ip': '6.6.6.6' });
    return two.lastHeaders['x-real-ip'] === '6.6.6.6';
  };
  const useRules = () =>
    writeFile(
      home.file('haproxy.cfg'),
      old.replace('frontend web from clients', 'frontend web from suite_web'),
    );

  beforeEach(async () => {
    [one, two] = await Promise.all([startBackend('one'), startBackend('two')]);
    home = await makeHome(haproxy, { MCP_PUBLIC_HOST: 'mcp.example.com', HAPROXY_POOL_COUNT: '3' });
    await Promise.all(
      ['run', 'certs', 'conf', 'data'].map((name) => mkdir(join(home.path, name), { recursive: true })),
    );
    const template = await readFile(join(FIXTURES, 'haproxy-0.1.cfg'), 'utf8');
    old = template
      .replaceAll('/HOME', home.path)
      .replaceAll('127.0.0.1:65001', `127.0.0.1:${home.httpPort}`)
      .replaceAll('65002', String(await freePort()))
      .replaceAll('65003', String(await freePort()))
      .replaceAll('65004', String(home.apiPort));
    const server = ({ port }: Backend): ServerSpec => ({
      ip: '127.0.0.1',
      http_port: port,
      weight: 1,
      state: 'ready',
    });
    await writeFile(home.file('haproxy.cfg'), old);
    await writeFile(
      home.file('pools.cfg'),
      renderPool('pool_1', new Map([[1, server(one)]])) + renderPool('pool_2', new Map([[1, server(two)]])),
    );
    await writeFile(home.file('domains.map'), `${SITE} pool_1\n${FORGED} pool_2\n`);
    const pools = {
      pool_1: { domains: [SITE], servers: { 1: server(one) } },
      pool_2: { domains: [FORGED], servers: { 1: server(two) } },
    };
    await writeFile(home.file('servers.json'), JSON.stringify({ version: 1, revision: 1, pools }));
    masters.length = 0;
    await startMaster(['haproxy.cfg', 'pools.cfg']);
    load = new Load(home.httpPort, [{ host: SITE, bodies: ['one'] }], 100);
  });

  afterEach(async () => {
    await load.stop();
    await suite?.kill();
    suite = undefined;
    const running = (
      await masterCli()
        .processes()
        .catch(() => undefined)
    )?.master;
    for (const pid of new Set([...masters, running]))
      if (pid !== undefined)
        try {
          process.kill(pid, 'SIGTERM');
        } catch {
          // This master was replaced and has exited.
        }
    await Promise.all([one.close(), two.close()]);
    await home.remove();
  });

  it('managed: a new master loads suite.cfg; both edits work; the way back works; no request fails', async () => {
    const sockets = await listeningSocket();
    suite = await Suite.start(home);
    // The new master has the socket of the former one, so no connection is lost.
    expect(await listeningSocket()).toEqual(sockets);
    expect(suite.output).not.toContain('does not hand over');
    expect(await readFile(home.file('pools.cfg'), 'utf8')).not.toContain('listeners.sock');
    const { warnings, ...rest } = (await check()) ?? {};
    expect(rest).toEqual({ valid: true, errors: [] });
    expect(warnings).toEqual([
      {
        file: home.file('haproxy.cfg'),
        line: old.split('\n').indexOf('frontend web from clients') + 1,
        message: expect.stringContaining("'frontend web from suite_web'"),
      },
    ]);
    expect(suite.output).toContain('serves with');
    expect(await health()).toMatch(/"status":"healthy","detail":"[^"]*'frontend web from suite_web'/);
    expect(await forged()).toBe(true);
    await useRules();
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    await until(async () => !(await forged()), { what: 'the rules' });
    expect((await check())?.warnings).toEqual([]);
    // The way back.
    await writeFile(home.file('haproxy.cfg'), old);
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    await until(forged, { what: 'the former rules' });
    await suite.kill();
    expect(await masterCli().reload()).toMatchObject({ success: true });
    const files = ['-f', home.file('haproxy.cfg'), '-f', home.file('pools.cfg')];
    await promisify(execFile)(haproxy.path, ['-c', ...files]);
    const { requests, ...report } = await load.stop();
    expect(report).toMatchObject({ failed: 0, failures: [] });
    expect(requests).toBeGreaterThan(50);
  });

  it('master: starts unchanged, names both edits, and has the rules after them; no request fails', async () => {
    await exposeListeners();
    const sockets = await listeningSocket();
    const worker = await workerPid();
    suite = await Suite.start(home, { HAPROXY_CONTROL: 'master' });
    expect(await workerPid()).toBe(worker);
    const edits = [
      expect.stringContaining("'frontend web from suite_web'"),
      expect.stringContaining(`'-f ${home.file('suite.cfg')}'`),
    ];
    const found = await check();
    expect({ ...found, warnings: found?.warnings.map(({ message }) => message) }).toEqual({
      valid: true,
      errors: [],
      warnings: edits,
    });
    expect(await health()).toContain(`Put '-f ${home.file('suite.cfg')}' before`);
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    // Only one of the edits: HAProxy would refuse the reload, so the check does.
    await useRules();
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(502);
    await startMaster(['suite.cfg', 'haproxy.cfg', 'pools.cfg']);
    await until(async () => !(await forged()), { what: 'the rules' });
    expect(await check()).toEqual({ valid: true, errors: [], warnings: [] });
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    // The way back.
    await writeFile(home.file('haproxy.cfg'), old);
    await startMaster(['haproxy.cfg', 'pools.cfg']);
    // The former worker, which has the rules, may still answer.
    await until(async () => (await check())?.warnings.length === edits.length, { what: 'both edits' });
    expect((await check())?.warnings.map(({ message }) => message)).toEqual(edits);
    expect(await listeningSocket()).toEqual(sockets);
    expect(await load.stop()).toMatchObject({ failed: 0, failures: [] });
  });

  it.runIf(FORMER_SUITE).each(['managed', 'master'])(
    '%s: the program of 0.1, this one, and 0.1 again serve all domains; no request fails',
    async (control) => {
      const env = { HAPROXY_CONTROL: control };
      const start = (main?: string) => Suite.start(home, env, main === undefined ? {} : { main });
      const add = async (domain: string) => {
        const body = { domain, share_with: FORGED };
        expect(await suite?.api('POST', '/domains', body)).toMatchObject({ status: 201 });
      };
      const served = () =>
        Promise.all(
          ['b.example', 'c.example', 'd.example'].map(async (host) => (await get(home.httpPort, host)).body),
        );
      suite = await start(FORMER_SUITE);
      await exposeListeners();
      await add('b.example');
      await suite.kill();

      suite = await start();
      await add('c.example');
      if (control === 'master') await startMaster(['suite.cfg', 'haproxy.cfg', 'pools.cfg']);
      // The former worker may still answer, which has no suite.cfg: until then a reload with the rules is refused.
      await until(async () => (await check())?.warnings.length === 1, { what: 'edit 2' });
      await useRules();
      expect(await suite.api('POST', '/configuration/reload')).toMatchObject({ status: 200 });
      await until(async () => !(await forged()), { what: 'the rules' });

      // The way back, as docs/upgrade.md describes it.
      await writeFile(home.file('haproxy.cfg'), old);
      expect(await suite.api('POST', '/configuration/reload')).toMatchObject({ status: 200 });
      await suite.kill();
      if (control === 'master') await startMaster(['haproxy.cfg', 'pools.cfg']);
      const state = await readFile(home.file('servers.json'), 'utf8');
      await writeFile(home.file('servers.json'), state.replace('"version": 2', '"version": 1'));
      suite = await start(FORMER_SUITE);
      await add('d.example');
      expect(await served()).toEqual(['two', 'two', 'two']);
      expect(await suite.api('POST', '/configuration/reload')).toMatchObject({ status: 200 });
      expect(await served()).toEqual(['two', 'two', 'two']);
      expect(await load.stop()).toMatchObject({ failed: 0, failures: [] });
    },
  );

  itOnce(haproxy)(
    'a haproxy.cfg that HAProxy refuses behind suite.cfg starts as before, and health says why',
    async () => {
      await writeFile(home.file('haproxy.cfg'), old.replace('global\n', 'global\n    nbthread 2\n'));
      suite = await Suite.start(home);
      expect(await health()).toMatch(/haproxy\.cfg:\d+ 'nbthread' not allowed/);
      expect((await suite.api('POST', '/domains', { domain: 'b.example' })).status).toBe(201);
      expect(await masterCli().reload()).toMatchObject({ success: true });
      // As the message in the documentation says: move the line.
      await writeFile(home.file('haproxy.cfg'), old);
      await writeFile(home.file('before.global'), 'nbthread 2\n');
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      await useRules();
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      await until(async () => !(await forged()), { what: 'the rules' });
      expect(await load.stop()).toMatchObject({ failed: 0, failures: [] });
    },
  );
});

describe('units', () => {
  it.each(['systemd/haproxy.service', 'systemd/haproxy-user/haproxy.service', 'quadlet/haproxy.container'])(
    '%s starts and checks HAProxy with the files of version 0.1, and with the third file, which is the first',
    async (name) => {
      const before = await readFile(join(FIXTURES, `haproxy-0.1.${name.split('.')[1]}`), 'utf8');
      const now = await readFile(join(import.meta.dirname, '../deploy', name), 'utf8');
      const files = (text: string) => [...new Set(text.match(/(?: -f \S+)+/g))];
      const conf = '/opt/haproxy/conf';
      expect(files(before)).toEqual([` -f ${conf}/haproxy.cfg -f ${conf}/pools.cfg`]);
      expect(files(now)).toEqual([` -f ${conf}/suite.cfg -f ${conf}/haproxy.cfg -f ${conf}/pools.cfg`]);
    },
  );
});
