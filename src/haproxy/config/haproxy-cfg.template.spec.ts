import { copyFileSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../../../test/kit/traffic/backend.js';
import { freePort } from '../../../test/kit/free-port.js';
import { type HaproxyBinary, haproxyVersions } from '../../../test/kit/haproxy/haproxy-versions.js';
import { get } from '../../../test/kit/traffic/request.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import type { ServerSpec } from '../../model/server.js';
import { loadSettings, type Settings } from '../../settings/settings.js';
import { EventFeed } from '../../signals/event-feed.js';
import { renderConfig } from './haproxy-cfg.template.js';
import { ensureConfig } from './config-file.js';
import { checkConfiguration } from '../process/haproxy-binary.js';
import { configurationFiles } from '../process/start-files.js';
import { HaproxyProcessService } from '../process/haproxy-process.service.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { renderPool } from '../../storage/formats/pools-cfg.js';

/** An expected warning, because there is no certificate yet. */
const NO_CERTIFICATE_YET = /no SSL certificate specified for bind/;

describe('renderPool', () => {
  it('writes the slots in order, with the states for the start of HAProxy', () => {
    const server: ServerSpec = { ip: '10.0.0.1', http_port: 80, weight: 5, state: 'ready' };
    const servers = new Map<number, ServerSpec>([
      [10, { ...server, state: 'maint' }],
      [2, { ...server, ip: '2001:db8::1', state: 'drain' }],
      [1, server],
    ]);
    expect(renderPool('pool_5', servers, undefined, true)).toBe(`backend pool_5 from pools
    balance roundrobin
    load-server-state-from-file global
    server pool_5_1 10.0.0.1:80 weight 5 check inter 2s fall 3 rise 2
    server pool_5_2 [2001:db8::1]:80 weight 0 check inter 2s fall 3 rise 2
    server pool_5_10 10.0.0.1:80 weight 5 check inter 2s fall 3 rise 2 disabled
`);
  });
});

describe('renderConfig', () => {
  // test/hosts/units.spec.ts starts HAProxy with these lines, on a machine that has the user.
  it('lets HAProxy become the user haproxy only where it can', () => {
    const settings = loadSettings({ HAPROXY_SOCKET: '/run/haproxy.sock' });
    const lines = /^ {4}user haproxy\n {4}group haproxy\n {4}setcap cap_net_bind_service$/m;
    expect(renderConfig(settings, { ipv6: true, haproxyUser: true })).toMatch(lines);
    expect(renderConfig(settings, { ipv6: true })).not.toMatch(/^ *(?:user|group|setcap) /m);
  });
});

const server = (backend: Backend): ServerSpec => ({
  ip: '127.0.0.1',
  http_port: backend.port,
  weight: 1,
  state: 'ready',
});

describe.each(haproxyVersions())('haproxy.cfg on HAProxy $version', (binary) => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let settings: Settings;
  let one: Backend;
  let two: Backend;
  let port: number;
  let haproxy: HaproxyProcessService | undefined;

  beforeEach(async () => {
    [home, one, two, port] = await Promise.all([
      tempHome(),
      startBackend('one'),
      startBackend('two'),
      freePort(),
    ]);
    settings = await settingsFor(binary, home.path, port);
    await ensureConfig(settings);
    writeFileSync(
      settings.files.pools,
      [
        renderPool('pool_1', new Map([[1, server(one)]])),
        renderPool('pool_2', new Map([[1, server(two)]])),
        renderPool('pool_3', new Map()),
      ].join(''),
    );
    writeFileSync(
      settings.files.map,
      'example.test pool_1\n.example.test pool_2\nempty.test pool_3\nlost.test pool_9\n',
    );
  });

  afterEach(async () => {
    await haproxy?.stop();
    haproxy = undefined;
    await Promise.all([one.close(), two.close()]);
    await home.remove();
  });

  async function start(): Promise<void> {
    haproxy = new HaproxyProcessService(settings, new HaproxyRuntimeService(settings), new EventFeed());
    await haproxy.start();
  }

  it('has no warnings with TLS, without TLS, and with a unix socket', async () => {
    const { suite, pools } = settings.files;
    const files = [suite, settings.files.config, pools];
    const warnings = async () => {
      const { valid, output } = await checkConfiguration(binary.path, files);
      expect(valid).toBe(true);
      return output.split('\n').filter((line) => /^\[(?:WARNING|ALERT)\]/.test(line));
    };
    expect((await warnings()).filter((line) => !NO_CERTIFICATE_YET.test(line))).toEqual([]);
    addCertificate(settings.folders.certs);
    expect(await warnings()).toEqual([]);
    const bare = loadSettings({
      HAPROXY_HOME: home.path,
      HAPROXY_CONFIG_FILE: join(home.path, 'conf/bare.cfg'),
      HAPROXY_SOCKET: join(home.path, 'run/api.sock'),
      HAPROXY_HTTPS_BIND: '',
      HAPROXY_METRICS_BIND: '',
    });
    await ensureConfig(bare);
    files[1] = bare.files.config;
    expect(await warnings()).toEqual([]);
  });

  it('is not overwritten by the suite', async () => {
    writeFileSync(settings.files.config, '# mine\n');
    await ensureConfig(settings);
    expect(readFileSync(settings.files.config, 'utf8')).toBe('# mine\n');
  });

  it('routes exact names, one-label wildcards, unknown hosts and pools without servers by the Host', async () => {
    await start();
    const answer = async (host: string) => {
      const { status, body } = await get(port, host);
      return status === 200 ? body : status;
    };
    const expected: Record<string, string | number> = {
      'example.test': 'one',
      'EXAMPLE.Test': 'one',
      'example.test:8080': 'one',
      'example.test.': 'one',
      'example.test.:80': 'one',
      'www.example.test': 'two',
      'a.b.example.test': 404,
      '.example.test': 404,
      '..example.test': 404,
      test: 404,
      'other.test': 404,
      'lost.test': 404,
      'empty.test': 503,
      '127.0.0.1': 404,
      '[::1]:80': 404,
    };
    for (const [host, result] of Object.entries(expected))
      expect([host, await answer(host)]).toEqual([host, result]);
    expect((await get(port, 'other.test')).body).toContain('No site of this name');
    expect((await get(port, 'empty.test')).body).toContain('No server of this site');
  });

  it('replaces the forwarding headers that the client sends', async () => {
    await start();
    await get(port, 'example.test', '/', { 'X-Forwarded-For': '6.6.6.6', 'X-Forwarded-Proto': 'https' });
    expect(one.lastHeaders['x-forwarded-for']).toBe('127.0.0.1');
    expect(one.lastHeaders['x-forwarded-proto']).toBe('http');
  });

  it('serves HTTPS with HTTP/2, announces HTTP/3, and serves metrics', async () => {
    addCertificate(settings.folders.certs);
    await start();
    const tls = Number(settings.httpsBinds[0]?.split(':').at(-1));
    const { headers, body, alpn } = await overHttp2(tls);
    expect(alpn).toBe('h2');
    expect(body).toBe('one');
    expect(headers['alt-svc']).toBe(`h3=":${tls}"; ma=86400`);
    expect(one.lastHeaders['x-forwarded-proto']).toBe('https');
    const metrics = await get(Number(settings.metricsBind.split(':').at(-1)), 'localhost', '/metrics');
    expect(metrics.body).toContain('haproxy_process_uptime_seconds');
  });

  it('serves only the path /mcp of the suite under its public name, and only over TLS', async () => {
    const env = { MCP_PUBLIC_HOST: 'example.test', MCP_HOST: '127.0.0.1', MCP_PORT: String(one.port) };
    settings = await settingsFor(binary, home.path, port, env);
    for (const file of [settings.files.config, settings.files.suite]) unlinkSync(file);
    await ensureConfig(settings);
    addCertificate(settings.folders.certs);
    const { output } = await checkConfiguration(binary.path, configurationFiles(settings.files));
    expect(output).not.toMatch(/WARNING|ALERT/);
    await start();
    const tls = Number(settings.httpsBinds[0]?.split(':').at(-1));
    expect(await overHttp2(tls, '/mcp?x')).toMatchObject({ body: 'one', headers: { ':status': 200 } });
    expect(await overHttp2(tls, '/docs')).toMatchObject({ headers: { ':status': 404 } });
    expect(await get(port, 'Example.Test.:80', '/mcp')).toMatchObject({ status: 403 });
    expect((await get(port, 'sub.example.test')).body).toBe('two');
  });

  it('retries another server if a server closes the connection without a response', async () => {
    const half = await freePort();
    writeFileSync(
      settings.files.pools,
      renderPool(
        'pool_1',
        new Map<number, ServerSpec>([
          [1, { ip: '127.0.0.1', http_port: half, weight: 1, state: 'ready' }],
          [2, { ip: '127.0.0.1', http_port: one.port, weight: 1, state: 'ready' }],
        ]),
      ),
    );
    await start();
    for (let count = 0; count < 6; count += 1) expect((await get(port, 'example.test')).body).toBe('one');
  });

  it('binds the Runtime API so that localhost and 127.0.0.1 connect', async () => {
    await start();
    const runtime = 'port' in settings.runtime ? settings.runtime.port : 0;
    for (const host of ['localhost', '127.0.0.1'])
      expect(
        await new Promise((resolve) => {
          const socket = connect({ host, port: runtime });
          socket.once('connect', () => resolve(true));
          socket.once('error', resolve);
          socket.once('connect', () => socket.destroy());
        }),
      ).toBe(true);
  });
});

async function settingsFor(
  binary: HaproxyBinary,
  home: string,
  port: number,
  env: Record<string, string> = {},
): Promise<Settings> {
  return loadSettings({
    HAPROXY_HOME: home,
    HAPROXY_BIN: binary.path,
    HAPROXY_CONTROL: 'managed',
    HAPROXY_PORT: String(await freePort()),
    HAPROXY_HTTP_BIND: `127.0.0.1:${port}`,
    HAPROXY_HTTPS_BIND: `127.0.0.1:${await freePort()}`,
    HAPROXY_METRICS_BIND: `127.0.0.1:${await freePort()}`,
    ...env,
  });
}

/** Copies a self-signed test certificate with its key into the folder, as one file. */
function addCertificate(folder: string): void {
  copyFileSync(
    join(import.meta.dirname, '../parsers/fixtures/example.test.pem'),
    join(folder, 'example.test.pem'),
  );
}

async function overHttp2(port: number, path = '/') {
  const { connect: connectHttp2 } = await import('node:http2');
  const session = connectHttp2(`https://example.test:${port}`, {
    host: '127.0.0.1',
    servername: 'example.test',
    rejectUnauthorized: false,
  });
  try {
    return await new Promise<{ headers: Record<string, unknown>; body: string; alpn: string | undefined }>(
      (resolve, reject) => {
        session.on('error', reject);
        const stream = session.request({ ':path': path, ':authority': `example.test:${port}` });
        let headers: Record<string, unknown> = {};
        let body = '';
        stream.on('response', (received) => {
          headers = received;
        });
        stream.on('data', (chunk: Buffer) => {
          body += chunk.toString();
        });
        stream.on('end', () => resolve({ headers, body, alpn: session.alpnProtocol }));
        stream.on('error', reject);
      },
    );
  } finally {
    session.destroy();
  }
}
