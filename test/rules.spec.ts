import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { makeCertificate } from './kit/certificates/certificates.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { itOnce } from './kit/haproxy/once.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { toolPath } from './kit/tool-path.js';

const SITE = 'a.example';
/** Headers of a client that says what only a proxy knows, in several spellings. */
const CLAIMS = [
  'X-Forwarded-For: 6.6.6.6',
  'X-Forwarded-Proto: forged',
  'X-Forwarded-Host: forged',
  'X-Forwarded-Port: 6666',
  'X-Forwarded-Prefix: /forged',
  'X-Forwarded-Ssl: forged',
  'Forwarded: for=6.6.6.6;host=forged',
  'X-Real-IP: 6.6.6.6',
  'Front-End-Https: forged',
  'X-Original-URL: /forged',
  'X-Rewrite-URL: /forged',
  'CF-Connecting-IP: 6.6.6.6',
  'True-Client-IP: 6.6.6.6',
  'Proxy: forged',
  'Fly-Client-IP: 6.6.6.6',
  'X-AppEngine-User-IP: 6.6.6.6',
  'X-Azure-ClientIP: 6.6.6.6',
  'Cf-Pseudo-IPv4: 6.6.6.6',
  'HTTP-X-Forwarded-For: 6.6.6.6',
];
const SPELLINGS = CLAIMS.flatMap((claim) => {
  const [name = '', value] = claim.split(': ');
  return [claim, `${name.replaceAll('-', '_')}: ${value}`, `${name.replace('-', '.')}: ${value}`];
});

interface Check {
  valid: boolean;
  errors: { file: string | null; line: number | null; message: string }[];
  warnings: { message: string }[];
}

describe.each(haproxyVersions())('rules of suite.cfg in HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;
  let one: Backend;
  let tls: number;

  beforeAll(async () => {
    one = await startBackend('one');
    tls = await freePort();
    home = await makeHome(haproxy, {
      HAPROXY_HTTPS_BIND: `127.0.0.1:${tls}`,
      TRUSTED_PROXIES: '127.0.0.2,10.0.0.0/8',
      PROXY_PROTOCOL_FROM: '127.0.0.3',
    });
    await mkdir(join(home.path, 'certs'), { recursive: true });
    const { pem } = await makeCertificate(home.path, { names: [SITE] });
    await writeFile(join(home.path, 'certs/a.pem'), pem, { mode: 0o600 });
    await writeFile(
      home.file('before.rules'),
      `# rules of the operator\nhttp-request return status 403 content-type text/plain string before if { path /before }\n`,
    );
    await writeFile(home.file('before.global'), 'nbthread 2\n');
    suite = await Suite.start(home);
    await suite.api('POST', '/domains', { domain: SITE, ip: '127.0.0.1', http_port: one.port });
  });

  afterAll(async () => {
    await suite.stop();
    await one.close();
    await home.remove();
  });

  /** A request with curl. Returns the status; the backend has the headers. */
  const curl = async (version: string, headers: readonly string[] = [], from = '127.0.0.1') => {
    const [scheme, port] = version === '--http1.1' ? ['http', home.httpPort] : ['https', tls];
    const { stdout } = await promisify(execFile)(toolPath('curl-http3'), [
      ...`${version} --curves X25519 -sk -o /dev/null --max-time 20 -w %{http_code} --interface ${from}`.split(
        ' ',
      ),
      ...['--resolve', `${SITE}:${port}:127.0.0.1`, `${scheme}://${SITE}:${port}/`],
      ...headers.flatMap((header) => ['-H', header]),
    ]);
    return Number(stdout);
  };
  const config = async () => {
    const { body } = await suite.api<{ components: Record<string, { status: string; detail: string }> }>(
      'GET',
      '/health',
    );
    return body.components['config_files'];
  };

  it.each(['--http1.1', '--http2', '--http3-only'])(
    'a client cannot set forwarding headers over %s, in any spelling',
    async (version) => {
      expect(await curl(version, SPELLINGS)).toBe(200);
      expect(JSON.stringify(one.lastHeaders)).not.toMatch(/forged|6\.6\.6\.6|6666/);
      const plain = version === '--http1.1';
      const port = plain ? home.httpPort : tls;
      expect(one.lastHeaders).toMatchObject({
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': plain ? 'http' : 'https',
        'x-forwarded-host': `${SITE}:${port}`,
        'x-forwarded-port': String(port),
        'x-real-ip': '127.0.0.1',
      });
    },
  );

  it('a client cannot let a server behind HAProxy delete these headers, and can upgrade', async () => {
    await get(home.httpPort, SITE, '/', { connection: 'close, X-Forwarded-For, CDN-Loop' });
    expect(one.lastHeaders.connection ?? '').not.toMatch(/x-forwarded|cdn/i);
    await get(home.httpPort, SITE, '/', { connection: 'keep-alive, Upgrade, X-Real-IP', upgrade: 'x' });
    expect(one.lastHeaders).toMatchObject({ connection: 'Upgrade', upgrade: 'x' });
  });

  it.each([
    ['the address that the proxy adds', '6.6.6.6, 203.0.113.7', '203.0.113.7'],
    ['the address before two proxies', '6.6.6.6, 203.0.113.7, 10.1.1.1, 10.2.2.2', '203.0.113.7'],
    ['no address before an invalid one', '6.6.6.6, unknown', '127.0.0.2'],
    ['no address before an invalid one of an earlier proxy', '6.6.6.6, unknown, 10.1.1.1', '10.1.1.1'],
    ['an IPv6 address', '2001:db8::7', '2001:db8::7'],
    ['an address with a port', '203.0.113.7:4711', '203.0.113.7'],
  ])('TRUSTED_PROXIES > believes %s', async (_, forwarded, expected) => {
    const claims = [`X-Forwarded-For: ${forwarded}`, 'X-Forwarded-Proto: https', 'X-Forwarded-Host: forged'];
    expect(await curl('--http1.1', claims, '127.0.0.2')).toBe(200);
    expect(one.lastHeaders).toMatchObject({
      'x-forwarded-for': expected,
      'x-real-ip': expected,
      'x-forwarded-proto': 'https',
      'x-forwarded-host': `${SITE}:${home.httpPort}`,
    });
  });

  it('TRUSTED_PROXIES > believes no other address, and no scheme but http and https', async () => {
    const claims = ['X-Forwarded-For: 203.0.113.7', 'X-Forwarded-Proto: https'];
    await curl('--http1.1', claims);
    expect(one.lastHeaders).toMatchObject({ 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http' });
    await curl('--http1.1', ['X-Forwarded-Proto: https, forged'], '127.0.0.2');
    expect(one.lastHeaders).toMatchObject({ 'x-forwarded-for': '127.0.0.2', 'x-forwarded-proto': 'http' });
  });

  /** The answer to bytes from a local address; empty if HAProxy closes the connection. */
  const raw = async (from: string, bytes: string) => {
    const socket = connect({ host: '127.0.0.1', port: home.httpPort, localAddress: from });
    socket.on('error', () => undefined);
    // No half-close: HAProxy 3.4 aborts such a request while it connects to the server.
    socket.write(bytes);
    return text(socket).catch(() => '');
  };

  it('PROXY_PROTOCOL_FROM > takes the address of the header, and no such header from others', async () => {
    const request = `GET / HTTP/1.1\r\nHost: ${SITE}\r\nConnection: close\r\n\r\n`;
    const header = 'PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n';
    expect(await raw('127.0.0.3', header + request)).toMatch(/^HTTP\/1\.1 200 /);
    expect(one.lastHeaders).toMatchObject({ 'x-forwarded-for': '203.0.113.9', 'x-forwarded-port': '80' });
    const { count } = one;
    expect(await raw('127.0.0.3', request)).toBe('');
    expect(await raw('127.0.0.1', header + request)).toMatch(/^HTTP\/1\.1 400 /);
    expect(one.count).toBe(count);
  });

  it('a loop through another proxy ends with 508 at the third pass', async () => {
    const port = await freePort();
    const file = join(home.path, 'second.cfg');
    await writeFile(
      file,
      `defaults\n  mode http\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\nfrontend f\n  bind 127.0.0.1:${port}\n  http-response add-header X-Pass 1\n  default_backend b\nbackend b\n  server s 127.0.0.1:${home.httpPort}\n`,
    );
    const second = spawn(haproxy.path, ['-db', '-f', file], { stdio: 'ignore' });
    const ended = new Promise((resolve) => second.once('exit', resolve));
    try {
      await suite.api('POST', '/domains', { domain: 'loop.example', ip: '127.0.0.1', http_port: port });
      const answer = await until(async () => {
        const found = await get(home.httpPort, 'loop.example');
        return found.status !== 503 && found;
      });
      expect(answer).toMatchObject({ status: 508, headers: { 'x-pass': '1, 1' } });
      await get(home.httpPort, SITE, '/', { 'CDN-Loop': 'other-cdn' });
      expect(one.lastHeaders['cdn-loop']).toMatch(/^other-cdn, suite-[0-9a-f]{16}$/);
    } finally {
      second.kill('SIGKILL');
      await ended;
    }
  });

  itOnce(haproxy)(
    'before.rules > runs first, and a broken one keeps the old suite.cfg, which check and health name',
    async () => {
      expect(await get(home.httpPort, SITE, '/before')).toMatchObject({ status: 403, body: 'before' });
      expect(await config()).toMatchObject({ status: 'healthy' });
      const good = await readFile(home.file('suite.cfg'), 'utf8');
      const rules = await readFile(home.file('before.rules'), 'utf8');
      for (const [line, message] of [
        ['http-request nonsense', /nonsense/],
        ['frontend hole', /cannot begin here/],
      ] as const) {
        await writeFile(home.file('before.rules'), `${rules}${line}\n`);
        const error = { file: home.file('before.rules'), line: 3, message: expect.stringMatching(message) };
        expect((await suite.api<Check>('POST', '/configuration/check')).body).toMatchObject({
          valid: false,
          errors: [error],
        });
        expect(await suite.api('POST', '/configuration/reload')).toMatchObject({
          status: 502,
          body: { detail: expect.stringContaining('before.rules:3') },
        });
        expect(await readFile(home.file('suite.cfg'), 'utf8')).toBe(good);
        expect(await get(home.httpPort, SITE, '/before')).toMatchObject({ status: 403 });
      }
      await suite.kill();
      suite = await Suite.start(home);
      expect(await readFile(home.file('suite.cfg'), 'utf8')).toBe(good);
      expect(await config()).toMatchObject({
        status: 'degraded',
        detail: expect.stringMatching(/before\.rules:3 .*suite\.cfg stays as it was/),
      });
      await writeFile(home.file('before.rules'), rules.replace('403', '404'));
      expect(await suite.api('POST', '/configuration/reload')).toMatchObject({ status: 200 });
      expect(await get(home.httpPort, SITE, '/before')).toMatchObject({ status: 404, body: 'before' });
      expect(await config()).toMatchObject({ status: 'healthy' });
    },
  );

  itOnce(haproxy)('after a start with other settings the suite loads the new rules by itself', async () => {
    await suite.kill();
    suite = await Suite.start(home, { TRUSTED_PROXIES: '', PROXY_PROTOCOL_FROM: '' });
    await curl('--http1.1', ['X-Forwarded-For: 203.0.113.7'], '127.0.0.2');
    expect(one.lastHeaders).toMatchObject({ 'x-forwarded-for': '127.0.0.2' });
    expect(suite.output).toMatch(/the suite reloads HAProxy/);
  });
});
