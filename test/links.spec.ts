import { existsSync } from 'node:fs';
import { lstat, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const LINKED = ['servers.json', 'domains.map', 'pools.cfg', 'haproxy.cfg', 'certificates.json'];

// The suite writes these files, and HAProxy of any version only opens them.
describe('files that are symbolic links', () => {
  let home: Home;
  let backend: Backend;
  const conf = (name: string) => join(home.path, 'conf', name);
  const real = (name: string) => join(home.path, 'disk', name);

  beforeAll(async () => {
    backend = await startBackend('one');
    // The journal begins at once, so that both ways of writing are covered.
    home = await makeHome(oldestHaproxy(), { STATE_JOURNAL_FROM_KB: '1' });
    await mkdir(join(home.path, 'conf'), { recursive: true });
    await mkdir(join(home.path, 'disk'));
    // Dangling at the first start.
    for (const name of LINKED) await symlink(`../disk/${name}`, conf(name));
  });

  afterAll(async () => {
    await home.remove();
    await backend.close();
  });

  it('are followed, and the links stay', async () => {
    let suite = await Suite.start(home);
    const servers = { ip: '127.0.0.1', http_port: backend.port };
    try {
      for (let n = 1; n <= 12; n += 1) {
        const added = await suite.api('POST', '/domains', { domain: `d${n}.example`, ...servers });
        expect(added.status, suite.output).toBe(201);
      }
      expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      expect((await suite.api('GET', '/health')).body).toMatchObject({
        components: { config_files: { status: 'healthy' }, drift: { count: 0 } },
      });
      await suite.kill();
      suite = await Suite.start(home);
      expect((await suite.api('GET', '/domains')).body).toMatchObject({ total: 12 });
      expect((await get(home.httpPort, 'd12.example')).body).toBe('one');
    } finally {
      await suite.stop();
    }
    for (const name of LINKED.filter((one) => existsSync(real(one))))
      expect((await lstat(conf(name))).isSymbolicLink(), name).toBe(true);
    expect(await readFile(real('domains.map'), 'utf8')).toContain('d12.example pool_12');
    expect(await readFile(real('pools.cfg'), 'utf8')).toContain(`server pool_12_1 127.0.0.1:${backend.port}`);
    expect(await readFile(real('servers.json'), 'utf8')).toContain('d12.example');
    expect(await readFile(real('haproxy.cfg'), 'utf8')).toContain('frontend web');
  });

  it('stop the start if the suite cannot replace them, with the reason and what to do', async () => {
    const refused = async (through: readonly string[] = []) => {
      const suite = Suite.spawn(home, {}, { through });
      expect(await suite.exitCode(), suite.output).toBe(1);
      return suite.output;
    };
    const inNamespace = (commands: string) => [
      ...['unshare', ...(process.getuid?.() === 0 ? [] : ['--map-root-user']), '--mount', 'sh', '-c'],
      `${commands} && exec "$@"`,
      'sh',
    ];
    const map = real('domains.map');
    const folder = join(home.path, 'disk');
    const before = await readFile(map, 'utf8');
    expect(await refused(inNamespace(`mount --bind ${map} ${map}`))).toMatch(
      new RegExp(
        `domains.map \\(a symbolic link to .*${map}\\) is a mounted file.*Mount the folder .*disk instead`,
      ),
    );
    expect(
      await refused(inNamespace(`mount --bind ${folder} ${folder} && mount -o remount,bind,ro ${folder}`)),
    ).toMatch(/is on a read-only file system\. Mount the folder .*disk without ro/);
    await rm(conf('servers.json'));
    await symlink('../gone/servers.json', conf('servers.json'));
    expect(await refused()).toMatch(/leads to a folder that does not exist/);
    await rm(conf('servers.json'));
    await symlink('../disk/elsewhere.json', conf('servers.json'));
    expect(await refused()).toMatch(/which does not exist, but .*audit\.jsonl is from an earlier start/);
    await rm(conf('servers.json'));
    await symlink('servers.json', conf('servers.json'));
    expect(await refused()).toMatch(/is a symbolic link that leads back to itself/);
    expect(await readFile(map, 'utf8')).toBe(before);
    // A mounted haproxy.cfg is no problem, because the suite never replaces it.
    await rm(conf('servers.json'));
    await symlink('../disk/servers.json', conf('servers.json'));
    const config = real('haproxy.cfg');
    const suite = await Suite.start(home, {}, { through: inNamespace(`mount --bind ${config} ${config}`) });
    expect((await suite.api('DELETE', '/domains/d12.example')).status).toBe(200);
    await suite.stop();
  });

  it('keep a temporary file of a killed suite out of the folder of the target', async () => {
    const left = join(home.path, 'disk/.domains.map.1.1.tmp');
    await writeFile(left, 'half');
    const suite = await Suite.start(home);
    expect(existsSync(left)).toBe(false);
    await suite.stop();
  });
});
