import { X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { type MadeCertificate, makeCertificate } from '../kit/certificates/certificates.js';
import { freePort } from '../kit/free-port.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { tempHome } from '../kit/temp-home.js';
import { toolPath } from '../kit/tool-path.js';

const run = promisify(execFile);

interface Certificate {
  domain: string;
  path: string;
  serial: string;
  loaded: boolean | null;
  not_tried: string[];
  served_instead: string[];
  problem?: string;
}

describe.each(haproxyVersions())('certificates that visitors of HAProxy $version get', (binary) => {
  let lab: CertificateLab;
  let made: Awaited<ReturnType<typeof tempHome>>;
  const make = (...names: string[]) => makeCertificate(made.path, { names });
  const put = (file: string, text: string | Buffer) => writeFile(lab.path('certs', file), text);
  const load = (name: string, body: object = {}) =>
    lab.api<Certificate & { rivals: string[]; files: string[]; warnings: string[] }>(
      'POST',
      `/certificates/${name}/load`,
      body,
    );
  const info = async (name: string) => (await lab.api<Certificate>('GET', `/certificates/${name}`)).body;
  const list = async () => (await lab.api<{ items: Certificate[] }>('GET', '/certificates')).body.items;
  const health = async () =>
    (await lab.api<{ components: { certificates: { status: string; detail: string } } }>('GET', '/health'))
      .body.components.certificates;
  /** The serial numbers that visitors get on each TCP bind, and over HTTP/3. */
  const served = async (name: string) => {
    const serials = await Promise.all(lab.httpsPorts.map((port) => lab.servedSerial(name, port)));
    return [...serials, await quicSerial(name)];
  };
  const quicSerial = async (name: string) => {
    const target = `${name}:${lab.httpsPort}`;
    const { stdout } = await run(
      toolPath('curl-http3'),
      `--http3-only --curves X25519 -sk -o /dev/null --max-time 20 --resolve ${target}:127.0.0.1 -w %{certs} https://${target}/`.split(
        ' ',
      ),
    );
    return /^Serial Number:\s*(?<serial>[0-9a-f:]+)/im
      .exec(stdout)
      ?.groups?.['serial']?.replaceAll(':', '')
      .toUpperCase();
  };
  const restartHaproxy = async () => {
    await lab.stopHaproxy();
    await lab.startHaproxy();
  };

  beforeAll(async () => {
    made = await tempHome();
    lab = await CertificateLab.start({ haproxy: binary, binds: 1, env: { HAPROXY_BIN: binary.path } });
  });
  afterAll(async () => {
    await lab?.stop();
    await made?.remove();
  });

  it('load > makes the new certificate win against an older file of the same name, also after a reload and a restart', async () => {
    await put('0001-old.pem', (await make('site.test', '*.site.test')).pem);
    expect((await lab.api('POST', '/configuration/reload')).status).toBe(200);
    const old = await info('0001-old.pem');
    expect(old).toMatchObject({ loaded: true, served_instead: [] });
    const { pem } = await make('site.test', '*.site.test');
    const { body } = await load('site.test', { pem });
    expect(body).toMatchObject({
      loaded: true,
      path: lab.path('certs/site.test.pem'),
      rivals: [lab.path('certs/0001-old.pem')],
      served_instead: [],
    });
    const wins = async () => {
      expect(await served('site.test')).toEqual([body.serial, body.serial, body.serial]);
      expect(await lab.servedSerial('www.site.test')).toBe(body.serial);
      expect(await info('site.test')).toMatchObject({
        serial: body.serial,
        served_instead: [],
        loaded: true,
      });
    };
    await wins();
    expect(await info('0001-old.pem')).toMatchObject({
      loaded: false,
      served_instead: expect.arrayContaining([expect.stringContaining('site.test.pem')]),
    });
    expect((await lab.api('POST', '/configuration/reload')).status).toBe(200);
    await wins();
    await restartHaproxy();
    await until(async () => (await lab.servedSerial('site.test')) === body.serial, { what: 'the new one' });
    await wins();
    await lab.restartSuite({});
    await restartHaproxy();
    await until(async () => (await lab.servedSerial('site.test')) === body.serial, { what: 'the new one' });
    await wins();
    // The older file can be chosen again.
    const back = await load('0001-old.pem');
    expect(back.body).toMatchObject({ loaded: true, serial: old.serial });
    expect(await lab.servedSerial('site.test')).toBe(old.serial);
    await lab.api('DELETE', '/certificates/0001-old.pem');
    expect(await lab.servedSerial('site.test')).toBe(body.serial);
  });

  it('loaded > is false if an RSA certificate is hidden by an ECDSA wildcard, and true for a pair of both', async () => {
    await load('hidden.test', { pem: (await make('*.hidden.test')).pem });
    const rsa = await makeCertificate(made.path, { names: ['www.hidden.test'], rsaBits: 2048 });
    const { body } = await load('www.hidden.test', { pem: rsa.pem });
    expect(body).toMatchObject({
      loaded: false,
      served_instead: expect.arrayContaining([
        expect.stringMatching(/www\.hidden\.test.*ECDSA.*hidden\.test\.pem/),
      ]),
    });
    expect(await health()).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('www.hidden.test.pem'),
    });
    await put('pair.pem', (await make('www.hidden.test')).pem);
    expect((await load('pair.pem')).body).toMatchObject({ loaded: true, rivals: [] });
    expect(await info('www.hidden.test')).toMatchObject({ loaded: true });
    for (const name of ['pair.pem', 'www.hidden.test', 'hidden.test'])
      await lab.api('DELETE', `/certificates/${name}`);
  });

  it('loaded > is null with the reason where no bind can be tried', async () => {
    const config = lab.settings.files.config;
    const text = await readFile(config, 'utf8');
    const [proxied, mutual] = [await freePort(), await freePort()];
    const ca = `${made.path}/clients.pem`;
    await writeFile(ca, (await make('clients.test')).certificate);
    await writeFile(
      config,
      `${text}\nfrontend proxied\n  mode http\n  bind 127.0.0.1:${proxied} accept-proxy ssl crt ${lab.path('certs')} strict-sni\n` +
        `  bind 127.0.0.1:${mutual} ssl crt ${lab.path('certs')} strict-sni verify required ca-file ${ca} ssl-max-ver TLSv1.2\n`,
    );
    expect((await lab.api('POST', '/configuration/reload')).body).toMatchObject({ reloaded: true });
    const { body } = await load('null.test', { pem: (await make('null.test')).pem });
    expect(body.loaded).toBe(true);
    expect(body.not_tried).toContainEqual(expect.stringMatching(`127.0.0.1:${proxied}: .*accept-proxy`));
    expect(body.not_tried).toContainEqual(expect.stringMatching(`127.0.0.1:${mutual}: .*client certificate`));
    const quic = expect.stringMatching(/^quic4@.*HTTP\/3/);
    if (binary.version === '3.0') expect(body.not_tried).toContainEqual(quic);
    else expect(body.not_tried).not.toContainEqual(quic);
    await writeFile(config, text);
    await lab.stopHaproxy();
    expect(await info('null.test')).toMatchObject({
      loaded: null,
      not_tried: expect.arrayContaining([expect.stringContaining('ECONNREFUSED')]),
    });
    expect((await list()).find(({ domain }) => domain === 'null.test')).toMatchObject({ loaded: null });
    await lab.startHaproxy();
    expect((await lab.api('DELETE', '/certificates/null.test')).status).toBe(200);
  });

  it('load > loads all files of a bundle, and a certificate with its key in another file', async () => {
    const bundle = async () => ({
      rsa: await makeCertificate(made.path, { names: ['bundle.test'], rsaBits: 2048 }),
      ecdsa: await make('bundle.test'),
    });
    for (const round of [1, 2]) {
      const { rsa, ecdsa } = await bundle();
      await put('bundle.test.pem.rsa', rsa.pem);
      await put('bundle.test.pem.ecdsa', ecdsa.certificate);
      await put('bundle.test.pem.ecdsa.key', ecdsa.key);
      const { status, body } = await load('bundle.test');
      expect({ round, status, ...body }).toMatchObject({
        status: 200,
        loaded: true,
        files: ['ecdsa', 'rsa'].map((kind) => lab.path(`certs/bundle.test.pem.${kind}`)),
      });
      const stored = (await list()).filter(({ domain }) => domain === 'bundle.test');
      expect(stored.map(({ loaded, path }) => [loaded, path.slice(lab.path('certs/').length)])).toEqual([
        [true, 'bundle.test.pem.ecdsa'],
        [true, 'bundle.test.pem.rsa'],
      ]);
      expect(await lab.servedSerial('bundle.test')).toBe(stored[0]?.serial);
    }
    expect((await load('bundle.test.pem.rsa')).body.files).toEqual([lab.path('certs/bundle.test.pem.rsa')]);
    await restartHaproxy();
    expect(await info('bundle.test')).toMatchObject({ loaded: true });
    expect((await lab.api('DELETE', '/certificates/bundle.test')).status).toBe(200);
    expect(await lab.servedSerial('bundle.test')).toBeUndefined();
    expect(await lab.exists('certs/bundle.test.pem.ecdsa.key')).toBe(false);
  });

  it('load > sends the OCSP response of a file, and serves the certificate if the response is for an earlier one', async () => {
    const ca = await makeCertificate(made.path, { names: ['ocsp-ca.test'], isCa: true });
    const leaf = await makeCertificate(made.path, { names: ['ocsp.test'], issuer: ca });
    await put('ocsp.test.pem', leaf.pem + ca.certificate);
    await put('ocsp.test.pem.ocsp', await ocspResponse(ca, leaf));
    const status = async () => {
      const target = `127.0.0.1:${lab.httpsPort}`;
      const command = `openssl s_client -connect ${target} -servername ocsp.test -status </dev/null 2>/dev/null`;
      return (await run('sh', ['-c', command])).stdout;
    };
    expect((await load('ocsp.test')).body).toMatchObject({ loaded: true });
    expect(await status()).toContain('OCSP Response Status: successful');
    const renewed = await makeCertificate(made.path, { names: ['ocsp.test'], issuer: ca });
    await put('ocsp.test.pem', renewed.pem + ca.certificate);
    const { body } = await load('ocsp.test');
    expect(body).toMatchObject({ loaded: true });
    expect(await lab.servedSerial('ocsp.test')).toBe(body.serial);
    expect((await lab.api('DELETE', '/certificates/ocsp.test')).status).toBe(200);
    expect(await lab.exists('certs/ocsp.test.pem.ocsp')).toBe(false);
  });

  /** The response of a CA for its certificate, in the format of `x.pem.ocsp`. */
  async function ocspResponse(ca: MadeCertificate, leaf: MadeCertificate): Promise<Buffer> {
    const file = (name: string) => `${made.path}/ocsp-${name}`;
    const { serialNumber } = new X509Certificate(leaf.certificate);
    await writeFile(file('index'), `V\t391231235959Z\t\t${serialNumber}\tunknown\t/CN=ocsp.test\n`);
    await writeFile(file('ca.pem'), ca.certificate);
    await writeFile(file('ca.key'), ca.key);
    await writeFile(file('leaf.pem'), leaf.certificate);
    const signer = [
      '-rsigner',
      file('ca.pem'),
      '-rkey',
      file('ca.key'),
      '-CA',
      file('ca.pem'),
      '-issuer',
      file('ca.pem'),
    ];
    await run('openssl', [
      ...['ocsp', '-index', file('index'), ...signer],
      ...['-cert', file('leaf.pem'), '-respout', file('response'), '-ndays', '5'],
    ]);
    return readFile(file('response'));
  }

  it('load > wins against a rival that is too large for the Runtime API, or says which file to delete', async () => {
    const large = async () => {
      const ca = await makeCertificate(made.path, { names: ['ca.large.test'], isCa: true, ballast: 13_000 });
      const leaf = await makeCertificate(made.path, { names: ['large.test'], issuer: ca });
      return leaf.pem + ca.certificate;
    };
    const isNew = binary.version === '3.4';
    await put('zz-large.pem', await large());
    expect((await load('zz-large.pem')).body).toMatchObject({ loaded: true });
    const small = await load('large.test', { pem: (await make('large.test')).pem });
    expect(small.body).toMatchObject({
      loaded: true,
      rivals: [lab.path('certs/zz-large.pem')],
      warnings: [],
    });
    expect(await lab.servedSerial('large.test')).toBe(small.body.serial);
    // A large certificate wins against a small one, also after a reload.
    const back = await load('zz-large.pem');
    expect(back.body).toMatchObject({ loaded: true, rivals: [lab.path('certs/large.test.pem')] });
    expect((await lab.api('POST', '/configuration/reload')).status).toBe(200);
    expect(await lab.servedSerial('large.test')).toBe(back.body.serial);
    await lab.api('DELETE', '/certificates/zz-large.pem');
    // Before 3.4, nothing moves a large rival whose file name comes first.
    await put('0-large.pem', await large());
    expect((await load('0-large.pem')).body).toMatchObject({ loaded: true });
    const again = await load('large.test');
    expect(again.body.loaded).toBe(isNew);
    expect(again.body.warnings.join()).toMatch(isNew ? /^$/ : /Delete 0-large\.pem/);
    expect(again.body.serial === (await lab.servedSerial('large.test'))).toBe(isNew);
    for (const name of ['0-large.pem', 'large.test']) await lab.api('DELETE', `/certificates/${name}`);
  });

  it('list > has certificates whose names are no domains, and health does not call them broken', async () => {
    const subjects = { 'local.pem': '/CN=localhost', 'under.pem': '/CN=_', 'empty.pem': '/O=No name' };
    for (const [file, subject] of Object.entries(subjects))
      await put(file, (await makeCertificate(made.path, { names: [], subject })).pem);
    await put('address.pem', (await make('192.0.2.1')).pem);
    for (const file of [...Object.keys(subjects), 'address.pem']) expect((await load(file)).status).toBe(200);
    const stored = await list();
    const of = (file: string) => stored.find(({ path }) => path === lab.path('certs', file));
    expect(of('local.pem')).toMatchObject({ domain: 'localhost', loaded: true });
    expect(of('under.pem')).toMatchObject({ domain: '_', loaded: true });
    expect(of('address.pem')).toMatchObject({ domain: '192.0.2.1', loaded: null });
    expect(of('empty.pem')).toMatchObject({
      domain: 'empty.pem',
      loaded: null,
      not_tried: expect.arrayContaining([expect.stringContaining('no DNS name')]),
    });
    expect(await health()).toMatchObject({ status: 'healthy' });
    for (const file of [...Object.keys(subjects), 'address.pem'])
      expect((await lab.api('DELETE', `/certificates/${file}`)).status).toBe(200);
  });

  it('health > names each file in the folder with which HAProxy does not start', async () => {
    const [one, other] = [await make('one.test'), await make('one.test')];
    const broken: [file: string, reason: string][] = [
      ['README', 'no certificate'],
      ['empty.pem', 'empty'],
      ['link.pem', 'does not exist'],
      ['mismatch.pem', 'does not belong'],
      ['nokey.pem', 'no private key'],
    ];
    await put('README', 'Put certificates here.\n');
    await put('empty.pem', '');
    await symlink('/nonexistent/x.pem', lab.path('certs/link.pem'));
    await put('mismatch.pem', one.certificate + other.key);
    await put('nokey.pem', one.certificate);
    const found = await health();
    expect(found.status).toBe('degraded');
    for (const [file, reason] of broken)
      expect(found.detail).toMatch(new RegExp(`${lab.path('certs', file)}: [^;]*${reason}`));
    expect(found.detail).toMatch(/remove them/);
    expect((await info('mismatch.pem')).problem).toContain('does not belong');
    // HAProxy refuses each of them, and none of what is left.
    for (const [file] of broken) {
      const { body } = await lab.api<{ valid: boolean }>('POST', '/configuration/check');
      expect({ file, valid: body.valid }).toEqual({ file, valid: false });
      await rm(lab.path('certs', file));
    }
    expect((await lab.api('POST', '/configuration/check')).body).toMatchObject({ valid: true });
    expect(await health()).toMatchObject({ status: 'healthy' });
  });
});
