import { chmod, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { renderConfig } from '../src/haproxy/config/haproxy-cfg.template.js';
import { MasterCli } from '../src/haproxy/process/master-cli.js';
import { loadSettings } from '../src/settings/settings.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { makeCertificate } from './kit/certificates/certificates.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { oneVersion } from './kit/haproxy/once.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { servedSerial } from './kit/certificates/served-serial.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Check {
  valid: boolean;
  errors: { line: number | null; message: string }[];
  warnings: { line: number | null; message: string }[];
}

/** The masters that run with the haproxy.cfg of this home: processes with its path whose parent does not have it. */
async function masters(home: Home): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const commandLine = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (!commandLine.includes(home.file('haproxy.cfg')) || commandLine.includes('main.js')) continue;
    const stat = await readFile(`/proc/${entry}/stat`, 'latin1').catch(() => '');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state !== undefined && state !== 'Z') parents.set(Number(entry), Number(parent));
  }
  return [...parents].filter(([, parent]) => !parents.has(parent)).map(([pid]) => pid);
}

describe('HAProxy in managed mode', () => {
  let home: Home;
  let suite: Suite;
  let one: Backend;

  const add = () => suite.api('POST', '/domains', { domain: 'a.test', ip: '127.0.0.1', http_port: one.port });
  const serves = async () => (await get(home.httpPort, 'a.test')).body === 'one';
  const check = async () => (await suite.api<Check>('POST', '/configuration/check')).body;

  /** The worker of the killed master may still answer for a moment. */
  const untilRestarted = async (killed: number) => {
    await until(
      async () => {
        const [master, second] = await masters(home);
        const ready = (await fetch(`${suite.url}/readyz`)).status === 200;
        return master !== undefined && master !== killed && second === undefined && ready && (await serves());
      },
      { what: 'one new HAProxy that serves' },
    );
  };

  beforeEach(async () => {
    one = await startBackend('one');
  });

  afterEach(async () => {
    await suite.stop();
    for (const pid of await masters(home)) process.kill(pid, 'SIGKILL');
    await one.close();
    await home.remove();
  });

  it.each(oneVersion())(
    '$version runs once with daemon in haproxy.cfg, through a symbolic link',
    async (haproxy) => {
      const real = await makeHome(haproxy);
      const link = `${real.path}-link`;
      await symlink(real.path, link);
      const httpsPort = await freePort();
      const env = { ...real.env, HAPROXY_HTTPS_BIND: `127.0.0.1:${httpsPort}` };
      // haproxy.cfg has the real paths, and the suite is started with the link.
      const config = renderConfig(loadSettings(env), { ipv6: false }).replace(
        'global\n',
        'global\n    daemon\n',
      );
      await writeFile(real.file('haproxy.cfg'), config);
      home = {
        ...real,
        path: link,
        env: { ...env, HAPROXY_HOME: link, HAPROXY_SOCKET: join(link, 'run/haproxy.sock') },
        file: (name) => join(link, 'conf', name),
      };
      suite = await Suite.start(home);
      expect((await add()).status).toBe(201);
      expect(await serves()).toBe(true);

      const line = config.split('\n').indexOf('    daemon') + 1;
      const { valid, errors, warnings } = await check();
      expect({ valid, errors }).toEqual({ valid: true, errors: [] });
      expect(warnings).toContainEqual(
        expect.objectContaining({ line, message: expect.stringContaining("'daemon' has no effect") }),
      );
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      expect((await fetch(`${suite.url}/readyz`)).status).toBe(200);

      const made = await makeCertificate(join(home.path, 'data'), { names: ['a.test'] });
      await suite.api('POST', '/certificates/a.test/load', { pem: made.pem });
      const certificate = await suite.api('GET', '/certificates/a.test');
      expect(certificate.body).toMatchObject({ loaded: true });
      expect(await servedSerial('a.test', httpsPort)).toBe(certificate.body['serial']);

      for (let round = 0; round < 2; round += 1) {
        const [pid] = await masters(home);
        process.kill(pid!, 'SIGKILL');
        await untilRestarted(pid!);
      }
      // The certificate is read under the same name, and its renewal replaces it.
      const renewed = await makeCertificate(join(home.path, 'data'), { names: ['a.test'] });
      await suite.api('POST', '/certificates/a.test/load', { pem: renewed.pem });
      const after = await suite.api('GET', '/certificates/a.test');
      expect(await servedSerial('a.test', httpsPort)).toBe(after.body['serial']);
      expect(after.body['serial']).not.toBe(certificate.body['serial']);
    },
  );

  it.each(oneVersion())(
    '$version gets a new master at a reload if its socket file was deleted',
    async (haproxy) => {
      home = await makeHome(haproxy);
      suite = await Suite.start(home);
      expect((await add()).status).toBe(201);
      const [former] = await masters(home);
      // A request in progress, which the former master finishes.
      const slow = get(home.httpPort, 'a.test', '/held');
      await until(() => one.count === 1, { what: 'the request' });
      await rm(join(home.path, 'run/master.sock'));
      const workers = async () =>
        (await suite.api<{ components: { workers: object } }>('GET', '/health')).body.components.workers;
      expect(await workers()).toMatchObject({
        status: 'degraded',
        detail: expect.stringContaining('Use POST /api/v1/configuration/reload'),
      });
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      expect(await workers()).toMatchObject({
        status: 'healthy',
        detail: expect.stringContaining(`has replaced the HAProxy with pid ${former}`),
      });
      await suite.api('PUT', '/domains/a.test/servers/1/state', { state: 'drain' });
      const drained = async () =>
        (await suite.api('POST', '/domains/a.test/servers/1/wait-drain', { timeout: 1 })).body;
      // The next suite knows it too.
      await suite.kill();
      suite = await Suite.start(home);
      expect(await drained()).toMatchObject({
        drained: false,
        reason: expect.stringContaining(`pid ${former}, which still finishes its connections`),
      });
      one.release('/held');
      expect((await slow).body).toBe('one');
      await until(async () => (await masters(home)).length === 1, { what: 'the end of the former master' });
      expect(await drained()).toMatchObject({ drained: true });
      await suite.api('PUT', '/domains/a.test/servers/1/state', { state: 'ready' });
      expect(await serves()).toBe(true);
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    },
  );

  it('is attached to and not started twice if HAPROXY_BIN detaches it', async () => {
    const haproxy = oldestHaproxy();
    home = await makeHome(haproxy);
    const detaching = join(home.path, 'detaching-haproxy');
    await writeFile(
      detaching,
      `#!/bin/sh\ncase "$*" in *-W*) exec ${haproxy.path} "$@" -D ;; esac\nexec ${haproxy.path} "$@"\n`,
    );
    await chmod(detaching, 0o755);
    suite = await Suite.start(home, { HAPROXY_BIN: detaching });
    expect((await add()).status).toBe(201);
    expect(await serves()).toBe(true);
    const [pid] = await masters(home);
    process.kill(pid!, 'SIGKILL');
    await untilRestarted(pid!);
  });

  it('gets a new worker if its worker crashes and the master continues (no-exit-on-failure)', async () => {
    // The master of 3.0.11 exits in spite of the option.
    home = await makeHome(haproxyVersions().at(-1)!);
    await writeFile(join(home.path, 'conf/before.global'), 'master-worker no-exit-on-failure\n');
    suite = await Suite.start(home);
    expect((await add()).status).toBe(201);
    // With an old worker that still has a request, the master stays also without a current worker.
    const slow = get(home.httpPort, 'a.test', '/held');
    await until(() => one.count === 1, { what: 'the request' });
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    const { master, workers } = (await new MasterCli({
      path: join(home.path, 'run/master.sock'),
    }).processes())!;
    process.kill(workers[0]!, 'SIGKILL');
    await until(serves, { what: 'an answer of the restarted HAProxy' });
    expect(await masters(home)).toEqual([master]);
    one.release('/held');
    expect((await slow).body).toBe('one');
  });

  it('does not start on a port where another HAProxy listens', async () => {
    home = await makeHome(oldestHaproxy());
    suite = await Suite.start(home);
    const other = await makeHome(oldestHaproxy(), { HAPROXY_HTTP_BIND: `127.0.0.1:${home.httpPort}` });
    const second = Suite.spawn(other);
    expect(await second.exitCode()).toBe(1);
    expect(second.output).toContain(`Another process already listens on 127.0.0.1:${home.httpPort}`);
    expect(await masters(other)).toEqual([]);
    await other.remove();
  });

  it('is not checked as valid if haproxy.cfg names the map in two ways', async () => {
    home = await makeHome(oldestHaproxy());
    await mkdir(join(home.path, 'real'));
    await rename(join(home.path, 'conf'), join(home.path, 'real/conf'));
    await symlink('real/conf', join(home.path, 'conf'));
    suite = await Suite.start(home);
    const config = await readFile(home.file('haproxy.cfg'), 'utf8');
    // suite.cfg names the map through the link.
    const lookup = `    http-request set-var(txn.own) req.hdr(host),map_str(${home.path}/real/conf/domains.map)\n`;
    await writeFile(
      home.file('haproxy.cfg'),
      config.replace(/^ +use_backend/m, (rule) => lookup + rule),
    );
    const { valid, errors } = await check();
    expect(valid).toBe(false);
    expect(errors).toMatchObject([{ message: expect.stringContaining('keeps two maps') }]);
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(502);
  });
});
