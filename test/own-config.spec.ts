import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderConfig } from '../src/haproxy/config/haproxy-cfg.template.js';
import { loadSettings } from '../src/settings/settings.js';
import { askRuntimeApi } from './kit/ask-runtime-api.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { hasDynamicBackends, haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Check {
  valid: boolean;
  errors: { file: string | null; line: number | null; message: string }[];
  warnings: { file: string | null; message: string }[];
}
interface Health {
  components: Record<'config_files' | 'drift', { status: string; detail: string; differences?: string[] }>;
}

/** The file of the Debian package, with an own site. */
const PACKAGED = `global
    stats socket PATH mode 660 level admin
    stats timeout 30s
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend http-in
    bind 127.0.0.1:PORT
    default_backend own
backend own
    http-request return status 200 content-type text/plain string own
`;

describe.each(haproxyVersions())("an operator's haproxy.cfg with HAProxy $version", (haproxy) => {
  let home: Home;
  let suite: Suite;
  let one: Backend;
  let two: Backend;
  let template: string;

  const config = () => home.file('haproxy.cfg');
  const check = async () => (await suite.api<Check>('POST', '/configuration/check')).body;
  const reload = () => suite.api<{ code: string; detail: string }>('POST', '/configuration/reload');
  const health = async () => (await suite.api<Health>('GET', '/health')).body.components;
  const live = (command: string) => askRuntimeApi(home.env['HAPROXY_SOCKET'] ?? '', command);
  const add = (domain: string, backend: Backend) =>
    suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: backend.port });
  /** Writes haproxy.cfg: the template with more lines in `defaults pools`. */
  const write = (lines: string, from = template) =>
    writeFile(config(), from.replace('    balance roundrobin\n', lines));
  const stat = async (pool: string, server: string) => {
    const [head = '', ...rows] = (await live(`show stat ${pool} 6 -1`)).split('\n');
    const names = head.slice(2).split(',');
    const values = rows.map((row) => row.split(',')).find((row) => row[1] === server) ?? [];
    return (column: string) => values[names.indexOf(column)];
  };

  beforeAll(async () => {
    [one, two] = [await startBackend('one'), await startBackend('two')];
    home = await makeHome(haproxy, { HAPROXY_POOL_COUNT: '3' });
    template = renderConfig(loadSettings(home.env), { ipv6: false });
  });

  afterAll(async () => {
    await suite.stop();
    await Promise.all([one.close(), two.close()]);
    await home.remove();
  });

  it('a start stops and names the lines to add, and works with them', async () => {
    const admin = join(home.path, 'run/admin.sock');
    const packaged = PACKAGED.replace('PATH', admin).replace('PORT', String(home.httpPort));
    await writeFile(config(), packaged);
    suite = Suite.spawn(home);
    expect(await suite.exitCode()).toBe(1);
    const socket = `    stats socket ${home.env['HAPROXY_SOCKET']} mode 600 level admin\n`;
    expect(suite.output).toContain(socket.trim());
    const pools = /^defaults pools\n(?: {4}.+\n)+/m.exec(suite.output)?.[0] ?? 'none';
    const lookups = /^ {4}http-request set-var\(txn\.host\)(?:.+\n)+?.*use_backend .*$/m.exec(
      suite.output,
    )?.[0];
    await writeFile(
      config(),
      `${packaged}${pools}`
        .replace('    stats timeout', `${socket}    stats timeout`)
        .replace('    default_backend', `${lookups}\n    default_backend`),
    );
    suite = await Suite.start(home);
    expect((await add('a.example', one)).status).toBe(201);
    expect((await get(home.httpPort, 'a.example')).body).toBe('one');
    expect((await get(home.httpPort, 'own.example')).body).toBe('own');
    expect(await check()).toEqual({
      valid: true,
      errors: [],
      warnings: [expect.objectContaining({ message: expect.stringContaining('from suite_web') })],
    });
    expect((await health()).config_files.status).toBe('healthy');
    // From here on with the template.
    await writeFile(config(), template);
    expect((await reload()).status).toBe(200);
  });

  it('check and reload refuse what the suite could not work with, and health names it', async () => {
    await writeFile(config(), template.replace(/ +stats socket .*\n/, ''));
    expect(await check()).toMatchObject({
      valid: false,
      errors: [{ file: config(), message: expect.stringContaining('stats socket /') }],
    });
    expect(await reload()).toMatchObject({
      status: 502,
      body: { code: 'haproxy_rejected', detail: expect.stringContaining('level admin') },
    });
    expect((await health()).config_files).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('stats socket /'),
    });

    await writeFile(config(), template.replace(/^defaults pools$/m, 'defaults mine'));
    const { errors } = await check();
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining('    mode http\n')]);

    await writeFile(
      config(),
      `${template}\nfrontend second from suite_clients\n    bind 127.0.0.1:${home.httpPort}\n`,
    );
    expect(await check()).toMatchObject({
      valid: false,
      errors: [{ message: expect.stringContaining('by chance') }],
    });

    await writeFile(config(), `${template}\nunknown line\n`);
    expect((await health()).config_files).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('unknown'),
    });
    expect((await get(home.httpPort, 'a.example')).body).toBe('one');
    await writeFile(config(), template);
    expect((await health()).config_files.status).toBe('healthy');
  });

  it('health sees a certificate folder with which HAProxy would not start', async () => {
    const tls = template.replace(/( +bind .*\n)/, '$1    bind 127.0.0.1:1 ssl crt CERTS/ strict-sni\n');
    const bad = join(home.path, 'certs/README.pem');
    await writeFile(config(), tls.replace('CERTS', join(home.path, 'certs')));
    expect((await health()).config_files.status).toBe('healthy');
    await writeFile(bad, 'Put certificates here.\n');
    expect((await health()).config_files).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('README.pem'),
    });
    await writeFile(config(), template);
  });

  it('the settings of "defaults pools" hold for servers and pools in the files and at run time', async () => {
    await write('    balance source\n');
    expect(await check()).toMatchObject({
      valid: false,
      errors: [{ message: expect.stringContaining('static') }],
    });

    await write(
      '    balance leastconn\n    default-server maxconn 7 inter 10s rise 4 slowstart 1s on-error mark-down\n',
    );
    expect((await reload()).status).toBe(200);
    expect((await add('b.example', two)).status).toBe(201);
    const expectSettings = async () => {
      for (const pool of ['pool_1', 'pool_2']) {
        expect((await stat(pool, 'BACKEND'))('algo')).toBe('leastconn');
        const server = await stat(pool, `${pool}_1`);
        expect(['slim', 'check_rise', 'check_fall'].map((column) => server(column))).toEqual(['7', '4', '3']);
      }
    };
    await expectSettings();
    if (hasDynamicBackends(haproxy.version)) {
      for (const name of ['c.example', 'd.example']) expect((await add(name, two)).status).toBe(201);
      expect((await stat('pool_4', 'BACKEND'))('algo')).toBe('leastconn');
    }
    expect((await reload()).status).toBe(200);
    await expectSettings();
    expect((await get(home.httpPort, 'b.example')).body).toBe('two');
    await suite.api('POST', '/state/restore');
    expect((await health()).drift).toMatchObject({ status: 'healthy' });

    // An edit counts after the reload, also for servers that are added before it. Until then it is drift.
    await write('    balance roundrobin\n    default-server ssl verify none ca-file @system-ca\n');
    await suite.api('POST', '/state/restore');
    const { drift } = await health();
    expect(drift.status).toBe('degraded');
    expect(drift.differences?.join('\n')).toMatch(/balance leastconn instead of roundrobin/);
    expect(drift.differences?.join('\n')).toMatch(/ssl off instead of on/);
    await suite.api('POST', '/domains/b.example/servers', { ip: '127.0.0.1', http_port: one.port });
    expect((await get(home.httpPort, 'b.example')).status).toBe(200);
    expect((await reload()).status).toBe(200);
    const added = await suite.api('POST', '/domains/b.example/servers', {
      ip: '127.0.0.2',
      http_port: one.port,
    });
    expect(added.status).toBe(201);
    const rows = (await live('show servers state pool_2')).split('\n').slice(2);
    expect(rows.map((row) => row.split(' ')[20])).toEqual(['1', '1', '1']);

    await write('    balance roundrobin\n    default-server no-check\n');
    expect((await reload()).status).toBe(200);
    expect((await suite.api('POST', '/domains/b.example/servers', { ip: '127.0.0.3' })).status).toBe(201);
    expect((await stat('pool_2', 'pool_2_4'))('status')).toBe('no check');
    await writeFile(config(), template);
    expect((await reload()).status).toBe(200);
  });

  it('a file of states does not send a domain to the server that had its place before', async () => {
    expect((await suite.api('POST', '/state/save')).status).toBe(200);
    const states = join(home.path, 'data/servers.state');
    expect(await readFile(states, 'utf8')).toContain('pool_1_1');
    expect((await suite.api('DELETE', '/domains/a.example')).status).toBe(200);
    expect((await add('new.example', two)).body).toMatchObject({ pool: 'pool_1' });
    const text = template.replace('global\n', `global\n    server-state-file ${states}\n`);
    await write('    balance roundrobin\n    load-server-state-from-file global\n', text);
    expect(await check()).toMatchObject({
      valid: true,
      warnings: [{ file: config(), message: expect.stringContaining('load-server-state-from-file') }],
    });
    expect((await reload()).status).toBe(200);
    // HAProxy alone, as its files start it: the suite repairs nothing here.
    await suite.kill();
    const pid = Number((await readFile(join(home.path, 'run/haproxy.pid'), 'utf8')).split('\n')[0]);
    const worker = async () => /^Pid: (\d+)/m.exec(await live('show info'))?.[1];
    const before = await worker();
    process.kill(pid, 'SIGUSR2');
    await until(async () => (await worker().catch(() => before)) !== before, { what: 'a new worker' });
    expect((await get(home.httpPort, 'new.example')).body).toBe('two');
    suite = await Suite.start(home);
    await appendFile(config(), '\n');
    expect((await health()).config_files.status).toBe('healthy');
  });
});
