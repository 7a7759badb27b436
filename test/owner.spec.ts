import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

/** Own network and own mounts, as a container has. */
const NAMESPACES = ['unshare', '-n', '-m'];
const probe = spawnSync('unshare', ['-n', '-m', 'mount', '--bind', '/tmp', '/tmp'], { encoding: 'utf8' });

const canRun = probe.status === 0;
// owner-lock.spec.ts tests the same rule in one namespace.
if (!canRun)
  process.stdout.write(
    `Skipped: the owner of HAPROXY_HOME in other namespaces, because ${probe.error?.message ?? probe.stderr.trim()}\n`,
  );

describe.skipIf(!canRun)('The owner of HAPROXY_HOME', () => {
  let home: Home;
  const suites: Suite[] = [];

  /** A suite in a container: other namespaces, and the home mounted at another path. It needs no HAProxy. */
  const spawn = (n: number) => {
    const path = `${home.path}-${n}`;
    const setUp = `mkdir -p ${path} && mount --bind ${home.path} ${path} && ip link set lo up && exec "$@"`;
    const env = {
      HAPROXY_HOME: path,
      HAPROXY_SOCKET: join(path, 'run/none.sock'),
      HAPROXY_CONTROL: 'systemd',
    };
    const suite = Suite.spawn(home, env, { through: [...NAMESPACES, 'sh', '-ec', setUp, 'sh'] });
    suites.push(suite);
    return suite;
  };
  const isOpen = (suite: Suite) => suite.output.includes('Listening on');
  const hasEnded = (suite: Suite) => suite.process.exitCode !== null;

  beforeEach(async () => {
    home = await makeHome(oldestHaproxy());
  });

  afterEach(async () => {
    await Promise.all(suites.splice(0).map((suite) => suite.kill()));
    spawnSync(
      'rmdir',
      [0, 1, 2, 3, 4, 5].map((n) => `${home.path}-${n}`),
    );
    await home.remove();
  });

  it('is one suite in all containers that share the volume, also after kill -9 and when many start at once', async () => {
    const first = spawn(0);
    await until(() => isOpen(first), { what: 'the first suite' });
    const second = spawn(1);
    expect(await second.exitCode()).toBe(1);
    expect(second.output).toContain(`is owned by another running suite (pid ${first.process.pid})`);

    await first.kill();
    const many = [2, 3, 4, 5].map(spawn);
    await until(() => many.every((suite) => isOpen(suite) || hasEnded(suite)), {
      what: 'one of the suites',
    });
    expect(many.filter(isOpen)).toHaveLength(1);
    for (const suite of many.filter(hasEnded))
      expect(suite.output).toContain('is owned by another running suite');
  });

  it('is not known on a file system without sockets, so the start is refused', async () => {
    await mkdir(join(home.path, 'run'), { recursive: true });
    // sysfs answers EPERM, as vfat and some network file systems do.
    const setUp = `mount --bind /sys ${home.path}/run && exec "$@"`;
    const suite = Suite.spawn(home, {}, { through: [...NAMESPACES, 'sh', '-ec', setUp, 'sh'] });
    suites.push(suite);
    expect(await suite.exitCode()).toBe(1);
    expect(suite.output).toContain('has no unix sockets or no hard links');
  });
});
