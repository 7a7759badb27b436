import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, startFiles, Suite } from './kit/suite/suite.js';

// Each test continues where the one before ended: one home for each version.
describe.each(haproxyVersions())('restarts of the suite and of HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;
  let one: Backend;
  let two: Backend;
  let etags: string[];

  const ask = async (host: string) => (await get(home.httpPort, host)).body;
  const readEtags = () =>
    Promise.all(
      ['a.example', '*.b.example'].map(async (domain) => {
        const { body } = await suite.api<{ etag: string }>('GET', `/domains/${domain}`);
        expect(body.etag).toMatch(/^[0-9a-f]{24}$/);
        return body.etag;
      }),
    );
  const masterPid = async () =>
    Number((await readFile(`${home.path}/run/haproxy.pid`, 'utf8')).trim().split('\n')[0]);

  beforeAll(async () => {
    [one, two] = [await startBackend('one'), await startBackend('two')];
    home = await makeHome(haproxy);
    suite = await Suite.start(home);
    await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: one.port });
    await suite.api('POST', '/domains', { domain: '*.b.example', ip: '127.0.0.1', http_port: one.port });
    await suite.api('POST', '/domains/*.b.example/servers', {
      ip: '127.0.0.1',
      http_port: two.port,
      weight: 7,
    });
    await suite.api('PUT', '/domains/*.b.example/servers/1/state', { state: 'drain' });
    etags = await readEtags();
  });

  afterAll(async () => {
    await suite.stop();
    await Promise.all([one.close(), two.close()]);
    await home.remove();
  });

  const expectSame = async () => {
    expect(await ask('a.example')).toBe('one');
    for (let n = 0; n < 4; n += 1) expect(await ask('x.b.example')).toBe('two');
    expect(await readEtags()).toEqual(etags);
    const { body } = await suite.api('GET', '/domains/*.b.example/servers');
    expect(body['items']).toMatchObject([
      { slot: 1, state: 'drain', status: 'DRAIN' },
      // A check of the new process may not have finished yet.
      { slot: 2, state: 'ready', status: expect.stringMatching(/^(UP|checking)$/), weight: 7 },
    ]);
  };

  it('the suite starts a killed HAProxy again with the same routing', async () => {
    process.kill(await masterPid(), 'SIGKILL');
    await until(async () => (await ask('a.example')) === 'one', {
      what: 'an answer of the restarted HAProxy',
    });
    await until(async () => {
      await expectSame();
      return true;
    });
  });

  it('HAProxy serves after the suite is killed, and the next suite uses the same HAProxy process', async () => {
    const before = await masterPid();
    await suite.kill();
    expect(await ask('a.example')).toBe('one');
    suite = await Suite.start(home);
    expect(await masterPid()).toBe(before);
    await expectSame();
    await suite.api('POST', '/domains', { domain: 'c.example', ip: '127.0.0.1', http_port: two.port });
    expect(await ask('c.example')).toBe('two');
  });

  it('the next start of the suite restores the routing after both are killed', async () => {
    const pid = await masterPid();
    await suite.kill();
    process.kill(pid, 'SIGKILL');
    await until(
      async () =>
        ask('a.example').then(
          () => false,
          () => true,
        ),
      { what: 'the end of HAProxy' },
    );
    suite = await Suite.start(home);
    await expectSame();
  });

  it('HAProxy serves the same when it is started from the files after the suite has stopped', async () => {
    expect(await suite.stop()).toBe(0);
    await expect(ask('a.example')).rejects.toThrow();
    const alone = spawn(haproxy.path, ['-db', ...startFiles(home)], {
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => alone.once('exit', resolve));
    try {
      await until(async () => (await ask('a.example')) === 'one', {
        what: 'an answer of HAProxy without the suite',
      });
      for (let n = 0; n < 4; n += 1) expect(await ask('x.b.example')).toBe('two');
    } finally {
      alone.kill('SIGKILL');
      await ended;
    }
    suite = await Suite.start(home);
    await expectSame();
  });
});
