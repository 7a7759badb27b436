import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FULL, scaled } from './chaos/scale.js';
import { OsProcess } from '../src/haproxy/process/os-process.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, startFiles, Suite } from './kit/suite/suite.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { Load } from './kit/traffic/load.js';
import { get } from './kit/traffic/request.js';

const LEAVE = { HAPROXY_ON_STOP: 'leave' };
const RATE = 100;
const ROUNDS = scaled(5, 1);

describe('Restarts and upgrades under load', () => {
  let home: Home;
  let suite: Suite | undefined;
  let one: Backend;
  let load: Load | undefined;

  const masterPid = () => Number(readFileSync(join(home.path, 'run/haproxy.pid'), 'utf8').split('\n')[0]);
  const endHaproxy = async () => {
    const master = new OsProcess(masterPid());
    master.signal('SIGTERM');
    expect(await master.waitForExit(10_000)).toBe(true);
  };
  const add = (domain: string) =>
    suite!.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: one.port });
  const startLoad = () => {
    load = new Load(home.httpPort, [{ host: 'a.example', bodies: ['one'] }], RATE);
  };
  const failures = async () => {
    // Requests of the time after the last restart too.
    const { sent } = load!;
    await until(() => load!.sent > sent + RATE / 2, { what: 'more requests' });
    return (await load!.stop()).failures;
  };

  beforeEach(async () => {
    one = await startBackend('one');
  });

  afterEach(async () => {
    await load?.stop();
    await suite?.stop();
    // Left running by the suite.
    if (home.env['HAPROXY_CONTROL'] === 'managed') await endHaproxy();
    await one.close();
    await home.remove();
  });

  /** Nothing of the suite is left to read the log of HAProxy, and HAProxy still writes it. */
  const expectLogging = async (pid: number) => {
    const log = join(home.path, 'data/haproxy.log');
    expect(readlinkSync(`/proc/${pid}/fd/1`)).toBe(log);
    const size = readFileSync(log).length;
    process.kill(pid, 'SIGUSR2');
    await until(() => readFileSync(log).length > size, { what: 'a line of HAProxy' });
  };

  // Each version serves while the suite is killed, and while the suite is stopped and replaced.
  it(
    'HAPROXY_ON_STOP=leave: HAProxy serves and logs without the suite, and another version replaces it at a reload',
    { timeout: scaled(900_000, 300_000) },
    async () => {
      const [first, ...others] = haproxyVersions();
      home = await makeHome(first!, LEAVE);
      suite = await Suite.start(home);
      expect((await add('a.example')).status).toBe(201);
      startLoad();
      const ways = Array.from({ length: ROUNDS }, () => [...others, first!]).flat();
      for (const [round, { path, version }] of ways.entries()) {
        const pid = masterPid();
        await suite.kill();
        suite = await Suite.start(home);
        expect((await add(`r${round}.example`)).status).toBe(201);
        expect(await suite.stop()).toBe(0);
        expect(suite.output).toContain(`HAProxy (pid ${pid}) continues to serve`);
        await expectLogging(pid);
        suite = await Suite.start(home, { HAPROXY_BIN: path });
        expect(masterPid()).toBe(pid);
        expect((await get(home.httpPort, `r${round}.example`)).body).toBe('one');
        if (others.length > 0) expect(suite.output).toContain('haproxy_reload starts the new version');
        expect(await suite.api('POST', '/configuration/reload')).toMatchObject({ status: 200 });
        const { body } = await suite.api<{ haproxy?: { version?: string } }>('GET', '/stats');
        expect(JSON.stringify(body)).toContain(`"${version}.`);
      }
      expect(await failures()).toEqual([]);
    },
  );

  it.each(
    haproxyVersions()
      .filter((_, index) => FULL || index === 0)
      .flatMap((haproxy) =>
        (FULL ? (['master', 'systemd'] as const) : (['master'] as const)).map((control) => ({
          ...haproxy,
          control,
        })),
      ),
  )(
    'HAPROXY_CONTROL=$control with HAProxy $version: a restart and a kill of the suite',
    async ({ control, ...haproxy }) => {
      home = await makeHome(haproxy, { HAPROXY_CONTROL: control });
      suite = Suite.spawn(home);
      const needed = ['haproxy.cfg', 'suite.cfg', 'pools.cfg', 'domains.map'] as const;
      await until(() => needed.every((name) => existsSync(home.file(name))), { what: 'the files' });
      const master = spawn(
        haproxy.path,
        ['-W', '-db', '-S', join(home.path, 'run/master.sock'), ...startFiles(home)],
        { stdio: 'ignore' },
      );
      const ended = new Promise((resolve) => master.once('exit', resolve));
      try {
        await suite.untilReady();
        expect((await add('a.example')).status).toBe(201);
        startLoad();
        expect(await suite.stop()).toBe(0);
        suite = await Suite.start(home);
        await suite.kill();
        suite = await Suite.start(home);
        expect((await add('b.example')).status).toBe(201);
        expect(await failures()).toEqual([]);
      } finally {
        master.kill('SIGTERM');
        await ended;
      }
    },
  );
});

/** A control group that looks like the one of a unit: systemd's own hierarchy, or cgroup2. */
const HIERARCHY = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'].find((path) =>
  existsSync(`${path}/cgroup.procs`),
);
const GROUP = `${HIERARCHY}/hs-leave-test-${process.pid}.service`;

function canMakeGroup(): boolean {
  try {
    mkdirSync(GROUP);
    rmdirSync(GROUP);
    return true;
  } catch {
    return false;
  }
}

const canRunInGroup = canMakeGroup();
// systemd.spec.ts tests which unit a text of /proc/self/cgroup names.
if (!canRunInGroup)
  process.stdout.write('Skipped: KillMode of a unit, because this machine has no control group to write\n');

describe.skipIf(!canRunInGroup)('HAPROXY_ON_STOP=leave in a systemd unit', () => {
  it.each([
    ['control-group', false],
    ['process', true],
    ...(FULL ? ([['mixed', false]] as const) : []),
  ] as const)('KillMode=%s: starts: %s', async (mode, starts) => {
    const home = await makeHome(oldestHaproxy(), LEAVE);
    mkdirSync(GROUP);
    const bin = join(home.path, 'bin');
    mkdirSync(bin);
    // Only a machine that systemd has started answers "systemctl show".
    writeFileSync(
      join(bin, 'systemctl'),
      `#!/bin/sh\necho "$*" > ${home.path}/call\necho KillMode=${mode}\n`,
    );
    chmodSync(join(bin, 'systemctl'), 0o755);
    const suite = Suite.spawn(
      home,
      { PATH: `${bin}:${process.env['PATH']}` },
      { through: ['sh', '-ec', `echo $$ > ${GROUP}/cgroup.procs; exec "$@"`, 'sh'] },
    );
    try {
      if (starts) {
        await suite.untilReady();
        expect(suite.output).not.toContain('It is not known whether HAProxy outlives');
      } else {
        expect(await suite.exitCode()).toBe(1);
        expect(suite.output).toContain(`cannot work with KillMode=${mode}`);
        expect(suite.output).toContain('Add the line KillMode=process to the section [Service]');
        await expect(get(home.httpPort, 'a.example')).rejects.toThrow();
      }
      const unit = GROUP.slice(GROUP.lastIndexOf('/') + 1);
      expect(readFileSync(join(home.path, 'call'), 'utf8')).toBe(`show -p KillMode ${unit}\n`);
    } finally {
      await suite.stop();
      const left = readFileSync(`${GROUP}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number);
      for (const pid of left) process.kill(pid, 'SIGKILL');
      await until(() => readFileSync(`${GROUP}/cgroup.procs`, 'utf8') === '', {
        what: 'the end of HAProxy',
      });
      rmdirSync(GROUP);
      await home.remove();
    }
  });
});
