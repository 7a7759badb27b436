import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderConfig } from '../src/haproxy/config/haproxy-cfg.template.js';
import { MasterCli } from '../src/haproxy/process/master-cli.js';
import { runtimeCommand } from '../src/haproxy/runtime/command.js';
import { RuntimeTransport } from '../src/haproxy/runtime/transport.js';
import { loadSettings } from '../src/settings/settings.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type SickBackend, startSickBackend } from './kit/traffic/sick-backend.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Listed {
  items: { slot: number; status: string }[];
}

describe.each(haproxyVersions())('health that HAProxy $version knows', (haproxy) => {
  let home: Home;
  let suite: Suite;
  const backends: SickBackend[] = [];

  const backend = async (name: string, sick = false) => {
    const made = await startSickBackend(name, sick);
    backends.push(made);
    return made;
  };
  const server = ({ port }: SickBackend) => ({ ip: '127.0.0.1', http_port: port });
  const statuses = async (domain: string) => {
    const { body } = await suite.api<Listed>('GET', `/domains/${domain}/servers`);
    return body.items.map(({ status }) => status);
  };
  /** Sends 40 requests at once, which reach each server that HAProxy believes to be UP. Returns the different answers. */
  const answers = async (domain: string) => {
    const all = await Promise.all(Array.from({ length: 40 }, () => get(home.httpPort, domain)));
    return [...new Set(all.map(({ status, body }) => `${status} ${body}`))].toSorted();
  };
  const runtime = (command: ReturnType<typeof runtimeCommand>) =>
    new RuntimeTransport({ path: home.env['HAPROXY_SOCKET']! }).run([command]);
  const workerPid = async () => {
    const [info] = await runtime(runtimeCommand`show info`);
    return /^Pid: (\d+)$/m.exec(info?.text ?? '')?.[1];
  };
  const master = () => new MasterCli({ path: join(home.path, 'run/master.sock') });

  beforeAll(async () => {
    home = await makeHome(haproxy);
    const config = renderConfig(loadSettings(home.env), { ipv6: false });
    const checked = config.replace('defaults pools\n', 'defaults pools\n    option httpchk GET /healthz\n');
    await writeFile(home.file('haproxy.cfg'), checked);
    suite = await Suite.start(home);
    const [up, down] = [await backend('up'), await backend('down', true)];
    await suite.api('POST', '/domains', { domain: 'a.test', servers: undefined, ...server(up) });
    await suite.api('POST', '/domains/a.test/servers', server(down));
  });

  afterAll(async () => {
    await suite.stop();
    await Promise.all(backends.map((each) => each.close()));
    await home.remove();
  });

  it('a server that joins a pool with an UP server gets no request before its first passed check', async () => {
    expect(backends[1]?.count).toBe(0);
    expect(await answers('a.test')).toEqual(['200 up']);
    expect((await statuses('a.test'))[1]).toBe('DOWN');
    await suite.api('PUT', '/domains/a.test/servers/2/state', { state: 'maint' });
    await suite.api('PUT', '/domains/a.test/servers/2/state', { state: 'ready' });
    expect(await answers('a.test')).toEqual(['200 up']);
    expect(backends[1]?.count).toBe(0);
  });

  it('a server that joins a pool without an UP server is used at once', async () => {
    const [dead, fresh, next] = [await backend('dead', true), await backend('fresh'), await backend('next')];
    await suite.api('POST', '/domains', { domain: 'b.test', ...server(dead) });
    await runtime(runtimeCommand`set server pool_2/pool_2_1 health down`);
    await suite.api('POST', '/domains/b.test/servers', server(fresh));
    expect(await answers('b.test')).toEqual(['200 fresh']);
    // The new server has had no check yet when the only other server is drained.
    await suite.api('POST', '/domains/b.test/servers', server(next));
    await suite.api('PUT', '/domains/b.test/servers/2/state', { state: 'drain' });
    expect(await answers('b.test')).toEqual(['200 next']);
  });

  it('a DOWN server gets no request after a reload by the suite, by the operator, or a restart', async () => {
    const down = backends[1]!;
    const file = () => readFile(join(home.path, 'conf/down-servers.state'), 'utf8');
    const row = ` ${down.port} -\n`;
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    expect(await answers('a.test')).toEqual(['200 up']);
    expect(await file()).toContain(row);

    expect((await master().reload()).success).toBe(true);
    expect(await answers('a.test')).toEqual(['200 up']);

    const before = await workerPid();
    process.kill((await master().processes())!.master, 'SIGKILL');
    await until(async () => (await workerPid().catch(() => before)) !== before, { what: 'a new HAProxy' });
    expect(await answers('a.test')).toEqual(['200 up']);
    expect(down.count).toBe(0);

    // Once the checks pass, the server gets requests, and the next process knows that.
    down.sick = false;
    await until(async () => (await answers('a.test')).length === 2, {
      what: 'requests to the recovered server',
    });
    await until(async () => !(await file()).includes(row), { what: 'the end of the row' });
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    expect(await answers('a.test')).toEqual(['200 down', '200 up']);
  });

  it('a slot with a new address takes nothing from the DOWN server that had the slot before', async () => {
    const [gone, other, heir] = [await backend('gone', true), await backend('other'), await backend('heir')];
    await suite.api('POST', '/domains', { domain: 'c.test', ...server(other) });
    await suite.api('POST', '/domains/c.test/servers', server(gone));
    const file = () => readFile(join(home.path, 'conf/down-servers.state'), 'utf8');
    await until(async () => (await file()).includes(` ${gone.port} -\n`), { what: 'the row' });
    await suite.api('DELETE', '/domains/c.test');
    await suite.api('POST', '/domains', { domain: 'c.test', ...server(other) });
    await suite.api('POST', '/domains/c.test/servers', server(heir));
    // HAProxy takes the port from the file.
    expect(await file()).not.toContain(` ${gone.port} -\n`);
    expect((await master().reload()).success).toBe(true);
    await until(async () => (await answers('c.test')).includes('200 heir'), {
      what: 'requests to the new server',
    });
    expect(gone.count).toBe(0);
  });
});
