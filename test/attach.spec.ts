import { once } from 'node:events';
import { chmod, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runtimeCommand } from '../src/haproxy/runtime/command.js';
import { RuntimeTransport } from '../src/haproxy/runtime/transport.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

/** Counts the HAProxy processes (masters and workers) that use the files of this home. */
async function countProcesses(home: Home): Promise<number> {
  let count = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes(home.file('haproxy.cfg')) && commandLine.includes('-W')) count += 1;
  }
  return count;
}

/** Each test covers a fault that an earlier version of the suite had. */
describe('Suite beside a running HAProxy', () => {
  let home: Home;
  let one: Backend;
  let suite: Suite;

  const add = (domain: string) =>
    suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: one.port });

  beforeEach(async () => {
    one = await startBackend('one');
    home = await makeHome(oldestHaproxy());
  });

  afterEach(async () => {
    await suite.stop();
    await one.close();
    await home.remove();
  });

  it('attaches to a HAProxy that was loading when the suite was killed, and starts no second one', async () => {
    const slow = join(home.path, 'slow-haproxy');
    await writeFile(
      slow,
      `#!/bin/sh\ncase "$*" in *-W*) sleep 2 ;; esac\nexec ${oldestHaproxy().path} "$@"\n`,
    );
    await chmod(slow, 0o755);
    suite = Suite.spawn(home, { HAPROXY_BIN: slow });
    const pidFile = () => readFile(join(home.path, 'run/haproxy.launched'), 'utf8');
    await until(async () => (await pidFile()).endsWith('\n'), { what: 'the launch' });
    await suite.kill();
    suite = await Suite.start(home, { HAPROXY_BIN: slow });
    expect((await add('a.example')).status).toBe(201);
    for (let n = 0; n < 20; n += 1) expect((await get(home.httpPort, 'a.example')).body).toBe('one');
    expect(await countProcesses(home)).toBe(2);
  });

  it('does not stop a running HAProxy when the start of the suite fails', async () => {
    suite = await Suite.start(home);
    await add('a.example');
    await suite.kill();
    const wrong = Suite.spawn(home, { HAPROXY_SOCKET: join(home.path, 'run/elsewhere.sock') });
    expect(await wrong.exitCode()).toBe(1);
    expect((await get(home.httpPort, 'a.example')).body).toBe('one');
    suite = await Suite.start(home);
    expect((await get(home.httpPort, 'a.example')).body).toBe('one');
  });

  it('stops at once on SIGTERM while a client waits for a drain', async () => {
    suite = await Suite.start(home);
    await add('a.example');
    const slow = get(home.httpPort, 'a.example', '/held');
    await until(() => one.count === 1);
    await suite.api('PUT', '/domains/a.example/servers/1/state', { state: 'drain' });
    const headers = { authorization: `Bearer ${await suite.token()}`, 'content-type': 'application/json' };
    const url = `${suite.url}/api/v1/domains/a.example/servers/1/wait-drain`;
    const waiting = request(url, { method: 'POST', agent: false, headers });
    const answered = once(waiting, 'response') as Promise<[IncomingMessage]>;
    // The suite answers the next request after it has received this one, so by then the wait has begun.
    await new Promise<void>((resolve) => waiting.end('{"timeout":600}', resolve));
    expect((await suite.api('GET', '/domains/a.example/servers')).status).toBe(200);
    const stopped = suite.stop();
    const [response] = await answered;
    expect(response.statusCode).toBe(200);
    expect(await json(response)).toMatchObject({ drained: false });
    // HAProxy exits after the request in progress.
    one.release('/held');
    expect(await stopped).toBe(0);
    expect((await slow).body).toBe('one');
  });

  it('restores nothing with RECONCILE=report after HAProxy was unreachable', async () => {
    suite = await Suite.start(home, { RECONCILE: 'report' });
    await add('a.example');
    const socket = home.env['HAPROXY_SOCKET']!;
    const ready = async () => (await fetch(`${suite.url}/readyz`)).status;
    await new RuntimeTransport({ path: socket }).run([runtimeCommand`set server pool_1/pool_1_1 weight 7`]);
    await rename(socket, `${socket}.away`);
    await until(async () => (await ready()) === 503, { what: 'the suite not being ready' });
    await rename(`${socket}.away`, socket);
    await until(async () => (await ready()) === 200, { what: 'the suite being ready again' });
    const [reply] = await new RuntimeTransport({ path: socket }).run([
      runtimeCommand`get weight pool_1/pool_1_1`,
    ]);
    expect(reply?.text).toContain('7 (initial');
  });
});
