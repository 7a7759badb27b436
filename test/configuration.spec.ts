import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { type HaproxyBinary, haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { itOnce } from './kit/haproxy/once.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, startFiles, Suite } from './kit/suite/suite.js';

interface Check {
  valid: boolean;
  errors: { file: string | null; line: number | null; message: string }[];
  warnings: { message: string }[];
}

describe.each(haproxyVersions())('configuration of HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;
  let one: Backend;

  beforeEach(async () => {
    one = await startBackend('one');
    home = await makeHome(haproxy);
    suite = await Suite.start(home);
    await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: one.port });
    await suite.api('POST', '/domains/a.example/servers', { ip: '127.0.0.1', http_port: one.port });
    await suite.api('PUT', '/domains/a.example/servers/2/state', { state: 'drain' });
  });

  afterEach(async () => {
    await suite.stop();
    await one.close();
    await home.remove();
  });

  it('check and reload apply an edited haproxy.cfg and restore what the files cannot hold', async () => {
    const check = await suite.api<Check>('POST', '/configuration/check');
    expect(check).toMatchObject({ status: 200, body: { valid: true, errors: [], warnings: [] } });
    const config = await readFile(home.file('haproxy.cfg'), 'utf8');
    const edited = config.replace(
      '    use_backend',
      '    http-request set-header X-Edited yes\n    use_backend',
    );
    await writeFile(home.file('haproxy.cfg'), edited);
    const reload = await suite.api('POST', '/configuration/reload');
    // pools.cfg has a drained server with weight 0. The reload restores its state and weight.
    expect(reload).toMatchObject({
      status: 200,
      body: { reloaded: true, restored: { domains: 0, servers: 1, certificates: 0 } },
    });
    expect((await get(home.httpPort, 'a.example')).body).toBe('one');
    expect(one.lastHeaders['x-edited']).toBe('yes');
    const { body } = await suite.api('GET', '/domains/a.example/servers');
    expect(body['items']).toMatchObject([{ state: 'ready' }, { state: 'drain', weight: 1 }]);
  });

  itOnce(haproxy)(
    'check and reload refuse an invalid haproxy.cfg with file and line, and the old worker serves',
    async () => {
      const good = await readFile(home.file('haproxy.cfg'), 'utf8');
      await writeFile(home.file('haproxy.cfg'), `global\n    foo bar\n${good}`);
      const check = await suite.api<Check>('POST', '/configuration/check');
      expect(check.body).toMatchObject({
        valid: false,
        errors: [{ file: home.file('haproxy.cfg'), line: 2, message: expect.stringContaining("'foo'") }],
      });
      const reload = await suite.api('POST', '/configuration/reload');
      expect(reload).toMatchObject({
        status: 502,
        body: { code: 'haproxy_rejected', detail: expect.stringContaining('haproxy.cfg:2') },
      });
      expect((await get(home.httpPort, 'a.example')).body).toBe('one');
      expect(
        (await suite.api('POST', '/domains', { domain: 'b.example', ip: '127.0.0.1', http_port: one.port }))
          .status,
      ).toBe(201);
      expect((await get(home.httpPort, 'b.example')).body).toBe('one');
    },
  );

  it('the suite restores the state after a reload by another program', async () => {
    const pid = Number((await readFile(join(home.path, 'run/haproxy.pid'), 'utf8')).trim().split('\n')[0]);
    process.kill(pid, 'SIGUSR2');
    await until(() => suite.output.includes('HAProxy is a new process'), {
      what: 'the log line about the new process',
    });
    await until(async () => {
      const { body } = await suite.api<{ items: { status: string }[] }>('GET', '/domains/a.example/servers');
      return body.items[1]?.status === 'DRAIN';
    });
    expect((await get(home.httpPort, 'a.example')).body).toBe('one');
  });
});

/**
 * Not every test machine has podman and systemd. A script with that name, first in PATH, replaces the program and does
 * the same to the real HAProxy. It logs its calls.
 */
const FAKE_PROGRAMS = {
  podman: (haproxy: HaproxyBinary, home: Home) => `#!/bin/sh
echo "$*" >> ${home.path}/calls
if [ -e ${home.path}/stopped ]; then
  echo 'Error: can only create exec sessions on running containers: container state improper' >&2
  exit 255
fi
case "$1" in
  exec) shift 3; exec ${haproxy.path} "$@" ;;
  kill) kill -"$3" "$(head -1 ${home.path}/run/haproxy.pid)" ;;
  *) exit 125 ;;
esac
`,
  systemctl: (_: HaproxyBinary, home: Home) => `#!/bin/sh
echo "$*" >> ${home.path}/calls
if [ -e ${home.path}/stopped ]; then
  case "$1" in is-active) echo inactive ;; *) echo 'Job for haproxy.service is invalid: not active.' >&2 ;; esac
  exit 3
fi
[ "$1 $2" = "reload haproxy.service" ] && kill -USR2 "$(head -1 ${home.path}/run/haproxy.pid)"
`,
};

describe.each([
  ['master', undefined, []],
  ['podman', 'podman', ['exec haproxy haproxy -c', 'kill --signal USR2 haproxy']],
  ['systemd', 'systemctl', ['reload haproxy.service']],
] as const)('HAPROXY_CONTROL=%s', (control, program, expectedCalls) => {
  it('reloads a HAProxy that the suite did not start', async () => {
    const haproxy = oldestHaproxy();
    const home = await makeHome(haproxy, { HAPROXY_CONTROL: control });
    const bin = join(home.path, 'bin');
    const path = `${bin}:${process.env['PATH']}`;
    if (program) {
      const { mkdir } = await import('node:fs/promises');
      await mkdir(bin);
      await writeFile(join(bin, program), FAKE_PROGRAMS[program](haproxy, home));
      await chmod(join(bin, program), 0o755);
    }
    const suite = Suite.spawn(home, { PATH: path });
    await until(
      () =>
        (['haproxy.cfg', 'pools.cfg', 'domains.map'] as const).every((name) => existsSync(home.file(name))),
      {
        what: 'the files that HAProxy needs',
      },
    );
    const args = [
      '-W',
      '-S',
      join(home.path, 'run/master.sock'),
      '-p',
      join(home.path, 'run/haproxy.pid'),
      ...startFiles(home),
    ];
    const master = spawn(haproxy.path, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => master.once('exit', resolve));
    try {
      await suite.untilReady();
      expect((await suite.api('POST', '/domains', { domain: 'a.example' })).status).toBe(201);
      expect(await suite.api('POST', '/configuration/check')).toMatchObject({
        status: 200,
        body: { valid: true },
      });
      expect(await suite.api('POST', '/configuration/reload')).toMatchObject({
        status: 200,
        body: { reloaded: true },
      });
      expect((await get(home.httpPort, 'a.example')).status).toBe(503);
      const calls = program ? await readFile(join(home.path, 'calls'), 'utf8') : '';
      for (const call of expectedCalls) expect(calls).toContain(call);
      if (!program) return;
      // What it says of a container or unit that does not run. Nothing refuses the files, and nothing "goes on".
      await writeFile(join(home.path, 'stopped'), '');
      const failed = await suite.api('POST', '/configuration/reload');
      expect(failed).toMatchObject({ status: 503, body: { code: 'haproxy_unavailable' } });
      expect(failed.body['detail']).toMatch(/podman start haproxy|systemctl start haproxy\.service/);
      if (program === 'podman')
        expect(await suite.api('POST', '/configuration/check')).toMatchObject({
          status: 503,
          body: { detail: expect.stringContaining('container state improper') },
        });
    } finally {
      await suite.stop();
      master.kill('SIGTERM');
      await ended;
      await home.remove();
    }
  });
});

describe.each(haproxyVersions())(
  'HAPROXY_CONTROL=master without a HAProxy binary, HAProxy $version',
  (haproxy) => {
    it('lets the running HAProxy check the files, at a reload', async () => {
      const home = await makeHome(haproxy, {
        HAPROXY_CONTROL: 'master',
        HAPROXY_BIN: '/nonexistent/haproxy',
      });
      const suite = Suite.spawn(home);
      const needed = ['haproxy.cfg', 'suite.cfg', 'pools.cfg', 'domains.map'] as const;
      await until(() => needed.every((name) => existsSync(home.file(name))), { what: 'the files' });
      const master = spawn(
        haproxy.path,
        ['-W', '-S', join(home.path, 'run/master.sock'), ...startFiles(home)],
        {
          stdio: 'ignore',
        },
      );
      const ended = new Promise((resolve) => master.once('exit', resolve));
      const reload = () => suite.api('POST', '/configuration/reload');
      try {
        await suite.untilReady();
        expect((await suite.api('POST', '/domains', { domain: 'a.example' })).status).toBe(201);
        expect(await suite.api('POST', '/configuration/check')).toMatchObject({
          status: 503,
          body: {
            detail: expect.stringContaining(
              'HAProxy itself checks them at POST /api/v1/configuration/reload',
            ),
          },
        });
        const health = await suite.api<{ components: { config_files: object } }>('GET', '/health');
        expect(health.body.components.config_files).toMatchObject({
          status: 'healthy',
          detail: expect.stringContaining('Nothing here can check the files'),
        });
        expect(await reload()).toMatchObject({
          status: 200,
          body: {
            reloaded: true,
            warnings: [{ message: expect.stringContaining('the running HAProxy checked') }],
          },
        });

        const good = await readFile(home.file('haproxy.cfg'), 'utf8');
        await writeFile(home.file('haproxy.cfg'), `global\n    foo bar\n${good}`);
        expect(await reload()).toMatchObject({
          status: 502,
          body: { code: 'haproxy_rejected', detail: expect.stringContaining('haproxy.cfg:2') },
        });
        await writeFile(home.file('haproxy.cfg'), good);
        // A refused suite.cfg does not stay on the disk, where the next start of HAProxy would read it.
        const rules = await readFile(home.file('suite.cfg'), 'utf8');
        await writeFile(home.file('before.rules'), 'http-request nonsense\n');
        expect(await reload()).toMatchObject({ status: 502, body: { code: 'haproxy_rejected' } });
        expect(await readFile(home.file('suite.cfg'), 'utf8')).toBe(rules);
        await writeFile(home.file('before.rules'), 'http-request set-header X-Before yes\n');
        expect((await reload()).status).toBe(200);
        expect(await readFile(home.file('suite.cfg'), 'utf8')).toContain('X-Before');
        expect((await get(home.httpPort, 'a.example')).status).toBe(503);
      } finally {
        await suite.stop();
        master.kill('SIGTERM');
        await ended;
        await home.remove();
      }
    });
  },
);

describe('A first start in managed mode that can only fail', () => {
  it.each([
    ['the HAProxy binary is missing', 'does not exist', { HAPROXY_BIN: '/nonexistent/haproxy' }],
    ['another process has the port', 'Another process already listens on', {}],
  ])('creates no folder if %s', async (_reason, message, env) => {
    const home = await makeHome(oldestHaproxy(), env);
    const other = createServer().listen(home.httpPort, '127.0.0.1');
    await once(other, 'listening');
    try {
      const suite = Suite.spawn(home, { HAPROXY_HOME: join(home.path, 'new') });
      expect(await suite.exitCode()).toBe(1);
      expect(suite.output).toContain(message);
      expect(existsSync(join(home.path, 'new'))).toBe(false);
    } finally {
      other.close();
      await home.remove();
    }
  });
});
