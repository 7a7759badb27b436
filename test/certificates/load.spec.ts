import { scaled } from '../chaos/scale.js';
import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:https';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import {
  type MadeCertificate,
  makeCertificate,
  makeExpiredCertificate,
} from '../kit/certificates/certificates.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { tempHome } from '../kit/temp-home.js';
import { toolPath } from '../kit/tool-path.js';

const run = promisify(execFile);

/**
 * Sends one request over exactly this version of HTTP. It offers only X25519: with a post-quantum key share the first
 * message takes two packets, and Debian's HAProxy 3.0 ("limited-quic") loses every second such handshake over HTTP/3.
 * HAProxy 3.2 and 3.4 accept both.
 */
async function curl(lab: CertificateLab, name: string, version: string): Promise<string> {
  const url = `https://${name}:${lab.httpsPort}/`;
  const to = `${name}:${lab.httpsPort}:127.0.0.1`;
  const args = `${version} --curves X25519 -sk -o /dev/null --max-time 20 --resolve ${to} ${url}`.split(' ');
  const { stdout } = await run(toolPath('curl-http3'), ['-w', '%{http_version} %{http_code}', ...args]);
  return stdout;
}

describe.each(haproxyVersions())('certificates in HAProxy $version', (binary) => {
  let lab: CertificateLab;
  let made: Awaited<ReturnType<typeof tempHome>>;
  const make = (...names: string[]) => makeCertificate(made.path, { names });
  const load = (domain: string, body: object = {}) => lab.api('POST', `/certificates/${domain}/load`, body);

  beforeAll(async () => {
    made = await tempHome();
    lab = await CertificateLab.start({ haproxy: binary, binds: 1 });
  });
  afterAll(async () => {
    await lab?.stop();
    await made?.remove();
  });

  it('load > serves a given PEM on every bind at once, over HTTP/1.1, HTTP/2 and HTTP/3', async () => {
    const { pem } = await make('one.test', '*.one.test');
    const { status, body } = await load('one.test', { pem: pem.replaceAll('\n', '\r\n\r\n') });
    expect(body).toMatchObject({ domain: 'one.test', loaded: true, auto_renew: false, warnings: [] });
    expect(status).toBe(200);
    for (const port of lab.httpsPorts)
      expect(await lab.servedSerial('www.one.test', port)).toBe(body['serial']);
    const { stdout } = await run('sh', [
      '-c',
      `openssl s_client -connect 127.0.0.1:${lab.httpsPort} -servername one.test </dev/null 2>/dev/null | openssl x509 -noout -serial`,
    ]);
    expect(stdout.trim()).toBe(`serial=${String(body['serial'])}`);
    expect((await stat(lab.path('certs/one.test.pem'))).mode & 0o777).toBe(0o600);
    expect(await curl(lab, 'one.test', '--http1.1')).toBe('1.1 404');
    expect(await curl(lab, 'one.test', '--http2')).toBe('2 404');
    expect(await curl(lab, 'one.test', '--http3-only')).toBe('3 404');
  });

  it('load > replaces an ECDSA certificate with an RSA certificate and its chain', async () => {
    // Two keys of 4096 bits take 10 s of CPU time to make.
    const rsaBits = scaled(4096, 2048);
    const ca = await makeCertificate(made.path, { names: ['ca.test'], isCa: true, rsaBits });
    const rsa = await makeCertificate(made.path, { names: ['one.test'], issuer: ca, rsaBits });
    const { body } = await load('one.test', { pem: rsa.key + ca.certificate + rsa.certificate });
    expect(body).toMatchObject({ key_type: `RSA ${rsaBits}`, loaded: true });
    expect(await lab.servedSerial('one.test')).toBe(body['serial']);
    expect(await curl(lab, 'one.test', '--http3-only')).toBe('3 404');
  });

  it('load > serves a chain that is too large for the Runtime API', async () => {
    const ca = await makeCertificate(made.path, { names: ['large.test'], isCa: true, ballast: 13_000 });
    const leaf = await makeCertificate(made.path, { names: ['large.test'], issuer: ca });
    const { body } = await load('large.test', { pem: leaf.pem + ca.certificate });
    expect(body).toMatchObject({ loaded: true });
    expect((await readFile(lab.path('certs/large.test.pem'))).length).toBeGreaterThan(17_000);
    expect(await lab.servedSerial('large.test')).toBe(body['serial']);
  });

  it('load > aborts a transaction of another client and changes no other certificate', async () => {
    const before = await lab.servedSerial('one.test');
    const one = await make('one.test');
    const name = lab.path('certs/one.test.pem');
    await lab.command(`set ssl cert ${name} <<\n${one.certificate}\n\n`);
    expect(await lab.command('show ssl cert\n')).toContain(`*${name}`);
    const two = await load('two.test', { pem: (await make('two.test')).pem });
    expect(two.body).toMatchObject({ loaded: true });
    expect(await lab.command('show ssl cert\n')).not.toContain('*');
    expect(await lab.servedSerial('one.test')).toBe(before);
  });

  it('load > loads a file of the operator, which is listed and never renewed', async () => {
    const own = await make('hand.test');
    await writeFile(lab.path('certs/zz-by-hand.crt'), own.pem);
    const listed = await lab.api('GET', '/certificates/hand.test');
    expect(listed.body).toMatchObject({
      domain: 'hand.test',
      loaded: false,
      auto_renew: false,
      path: lab.path('certs/zz-by-hand.crt'),
    });
    expect((await load('hand.test')).body).toMatchObject({ loaded: true });
    expect(await lab.servedSerial('hand.test')).toBe(listed.body['serial']);
    const renewed = await lab.api('POST', '/certificates/hand.test/renew?wait=true', { force: true });
    expect(renewed.body).toMatchObject({
      code: 'validation_failed',
      detail: expect.stringContaining('not issued by the suite'),
    });
    const { body } = await lab.api<{ items: { domain: string }[]; total: number }>(
      'GET',
      '/certificates?limit=2',
    );
    expect(body.items.map(({ domain }) => domain)).toEqual(['hand.test', 'large.test']);
    expect(body.total).toBe(4);
    expect(JSON.stringify(body)).not.toContain('PRIVATE KEY');
  });

  it('load > keeps max_certificates of a token also for parallel calls, and a call that failed does not count', async () => {
    const limits = { domains: ['*.few.test'], max_certificates: 2 };
    const token = await lab.api('POST', '/tokens', { name: 'few', role: 'operate', ...limits });
    const headers = {
      authorization: `Bearer ${String(token.body['token'])}`,
      'content-type': 'application/json',
    };
    const loadAs = async (domain: string, pem: string) => {
      const path = `${lab.url}/api/v1/certificates/${domain}/load`;
      const { status } = await fetch(path, { method: 'POST', headers, body: JSON.stringify({ pem }) });
      return status;
    };
    const domains = ['a', 'b', 'c', 'd', 'e', 'f'].map((label) => `${label}.few.test`);
    const pems: string[] = [];
    for (const domain of domains) pems.push((await make(domain)).pem);
    const loadAll = () => Promise.all(domains.map((domain, at) => loadAs(domain, pems[at] ?? '')));
    const noKey = (pems[0] ?? '').replace(/-----BEGIN[^-]*PRIVATE KEY-----[^-]*-----END[^-]*KEY-----/, '');
    expect(await Promise.all(domains.map((domain) => loadAs(domain, noKey)))).toEqual(domains.map(() => 422));
    expect((await loadAll()).toSorted((a, b) => a - b)).toEqual([200, 200, 403, 403, 403, 403]);
    // Those that exist can be replaced.
    expect((await loadAll()).toSorted((a, b) => a - b)).toEqual([200, 200, 403, 403, 403, 403]);
    for (const domain of domains) await lab.api('DELETE', `/certificates/${domain}`);
    expect(await loadAs('f.few.test', pems[5] ?? '')).toBe(200);
    await lab.api('DELETE', '/certificates/f.few.test');
    await lab.api('DELETE', '/tokens/few');
  });

  it('load > warns about a certificate that has expired or is for another name', async () => {
    const expired = await makeExpiredCertificate(made.path, 'expired.test');
    const { body } = await load('expired.test', { pem: expired.pem });
    expect(body).toMatchObject({ loaded: true, warnings: [expect.stringContaining('expired')] });
    expect(body['days_left']).toBeLessThan(0);
    const foreign = await load('foreign.test', { pem: (await make('elsewhere.test')).pem });
    expect(foreign.body).toMatchObject({
      loaded: true,
      warnings: [expect.stringContaining('elsewhere.test')],
    });
    for (const domain of ['expired.test', 'foreign.test'])
      expect((await lab.api('DELETE', `/certificates/${domain}`)).status).toBe(200);
  });

  it('restart > serves all certificates again after a restart of HAProxy, and of the suite if HAProxy lost one', async () => {
    const serials = async () =>
      Promise.all(['one.test', 'two.test', 'large.test', 'hand.test'].map((name) => lab.servedSerial(name)));
    const before = await serials();
    expect(before).not.toContain(undefined);
    await lab.stopHaproxy();
    await lab.startHaproxy();
    expect(await serials()).toEqual(before);
    await lab.stopSuite();
    const name = lab.path('certs/two.test.pem');
    const list = (await lab.command('show ssl crt-list\n')).trim().split('\n')[0];
    await lab.command(`del ssl crt-list ${list} ${name}; del ssl cert ${name}\n`);
    expect(await lab.servedSerial('two.test')).toBeUndefined();
    await lab.startSuite();
    expect(await serials()).toEqual(before);
  });

  it(
    'load > fails no handshake in swaps under load, and serves the new certificate after each response',
    { timeout: 600_000 },
    async () => {
      const pair = [await make('swap.test'), await make('swap.test')] as [MadeCertificate, MadeCertificate];
      expect((await load('swap.test', { pem: pair[0].pem })).status).toBe(200);
      const stop = new AbortController();
      let requests = 0;
      const failures: string[] = [];
      const client = async () => {
        while (!stop.signal.aborted) {
          await new Promise<void>((resolve) => {
            // Without keep-alive each request makes its own handshake.
            const request = get(
              {
                host: '127.0.0.1',
                port: lab.httpsPort,
                servername: 'swap.test',
                agent: new Agent({ keepAlive: false, maxCachedSessions: 0 }),
                rejectUnauthorized: false,
                headers: { host: 'swap.test' },
              },
              (response) => {
                response.resume();
                response.on('end', resolve);
              },
            );
            request.on('error', (error) => {
              failures.push(error.message);
              resolve();
            });
          });
          requests += 1;
        }
      };
      const clients = [client(), client(), client()];
      // More swaps, until the clients have made enough requests.
      for (let swap = 1; swap <= scaled(100, 8) || requests <= scaled(200, 60); swap += 1) {
        const { body } = await load('swap.test', { pem: pair[swap % 2]?.pem });
        // No polling: a client that connects after the response gets the new certificate.
        expect(await lab.servedSerial('swap.test')).toBe(body['serial']);
      }
      stop.abort();
      await Promise.all(clients);
      expect(failures).toEqual([]);
    },
  );
});
