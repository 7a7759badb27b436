import { X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { type MadeCertificate, makeCertificate } from '../kit/certificates/certificates.js';
import { freePort } from '../kit/free-port.js';
import { outerVersions } from '../kit/haproxy/once.js';
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

interface Health {
  components: { certificates: { status: string; detail: string } };
}

interface Explained {
  steps: { rule: string; outcome: string; detail: string }[];
}

describe.each(outerVersions())('certificates that visitors of HAProxy $version get', (binary) => {
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
  const health = async () => (await lab.api<Health>('GET', '/health')).body.components.certificates;
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
  /** Makes a token for some domains, for the GET requests of its caller. */
  const limitedTo = async (name: string, ...domains: string[]) => {
    const { body } = await lab.api('POST', '/tokens', { name, role: 'operate', domains });
    const headers = { authorization: `Bearer ${String(body['token'])}` };
    return async <T>(path: string): Promise<T> =>
      (await fetch(`${lab.url}/api/v1${path}`, { headers })).json() as Promise<T>;
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
    const loser = await info('0001-old.pem');
    expect(loser.loaded).toBe(false);
    for (const bind of lab.httpsPorts.map((port) => `127.0.0.1:${port}`))
      expect(loser.served_instead).toContain(`site.test on ${bind}: visitors get ${body.path}`);
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
    // The other certificate is not in the scope of this token.
    const get = await limitedTo('hidden', 'www.hidden.test');
    const { detail } = (await get<Health>('/health')).components.certificates;
    expect(detail).toContain('visitors do not get www.hidden.test.pem: they get another certificate.');
    expect(detail).not.toContain('/hidden.test.pem');
    await put('pair.pem', (await make('www.hidden.test')).pem);
    expect((await load('pair.pem')).body).toMatchObject({ loaded: true, rivals: [] });
    expect(await info('www.hidden.test')).toMatchObject({ loaded: true });
    for (const name of ['pair.pem', 'www.hidden.test', 'hidden.test'])
      await lab.api('DELETE', `/certificates/${name}`);
  });

  it('a token with domains > is not told that a name has no certificate, if a wildcard out of its scope has it', async () => {
    await load('wild.test', { pem: (await make('*.wild.test')).pem });
    const site = { https: 'redirect' };
    expect((await lab.api('POST', '/domains', { domain: 'a.wild.test', site })).status).toBe(201);
    const get = await limitedTo('wild', '*.wild.test');
    const stepOf = ({ steps }: Explained) => steps.find(({ rule }) => rule === 'certificate');
    expect((await get<Health>('/health')).components.certificates).toMatchObject({
      status: 'healthy',
      detail: 'No certificates.',
    });
    expect(stepOf(await get<Explained>('/explain?host=a.wild.test'))).toEqual({
      rule: 'certificate',
      outcome: 'info',
      detail: 'No certificate of the domains of this token has the name; another may.',
    });
    const { body } = await lab.api<Explained>('GET', '/explain?host=a.wild.test');
    expect(stepOf(body)?.outcome).toBe('ok');
    await lab.api('DELETE', '/certificates/wild.test');
    expect((await health()).detail).toContain('Visitors of a.wild.test are redirected to https');
    await lab.api('DELETE', '/domains/a.wild.test');
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
    expect(await health()).toMatchObject({ status: 'healthy' });
    // The same certificate again keeps its response. It belongs to no other one.
    expect((await load('ocsp.test', { pem: leaf.pem + ca.certificate })).body).toMatchObject({
      loaded: true,
    });
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

  it('load > deletes the OCSP response of the earlier certificate, with which HAProxy would not start', async () => {
    const ca = await makeCertificate(made.path, { names: ['stale-ca.test'], isCa: true });
    const leaf = await makeCertificate(made.path, { names: ['stale.test'], issuer: ca });
    await put('stale.test.pem', leaf.pem);
    await put('stale.test.pem.issuer', ca.certificate);
    await put('stale.test.pem.ocsp', await ocspResponse(ca, leaf));
    expect((await load('stale.test')).body).toMatchObject({ loaded: true });
    const { pem } = await make('stale.test');
    const { body: plan } = await load('stale.test', { pem, dry_run: true });
    expect(JSON.stringify(plan)).toContain('stale.test.pem.ocsp is deleted');
    expect((await load('stale.test', { pem })).body).toMatchObject({ loaded: true });
    expect((await lab.api('POST', '/configuration/check')).body).toMatchObject({ valid: true });
    expect(await lab.exists('certs/stale.test.pem.ocsp')).toBe(false);
    expect(await lab.exists('certs/stale.test.pem.issuer')).toBe(false);
    expect((await lab.api('DELETE', '/certificates/stale.test')).status).toBe(200);
  });

  it('load > of a certificate with the name of another site as its common name leaves that site alone', async () => {
    const victim = await load('victim.test', { pem: (await make('victim.test')).pem });
    const options = { names: ['greedy.test'], subject: '/CN=victim.test' };
    const { body } = await load('greedy.test', { pem: (await makeCertificate(made.path, options)).pem });
    expect(body).toMatchObject({ loaded: true, served_instead: [] });
    const serials = async () => [
      await lab.servedSerial('victim.test'),
      await lab.servedSerial('greedy.test'),
    ];
    const expected = [victim.body.serial, body.serial];
    expect(await serials()).toEqual(expected);
    expect((await lab.api('POST', '/configuration/reload')).status).toBe(200);
    expect(await serials()).toEqual(expected);
    expect(await info('victim.test')).toMatchObject({ loaded: true });
    for (const name of ['victim.test', 'greedy.test']) await lab.api('DELETE', `/certificates/${name}`);
  });

  it('loaded > counts a bind with a crt-list, for the names of its filters', async () => {
    const config = lab.settings.files.config;
    const text = await readFile(config, 'utf8');
    const port = await freePort();
    const outside = await make('listed.test');
    await writeFile(`${made.path}/outside.pem`, outside.pem);
    const { pem } = await make('listed.test', 'www.listed.test');
    expect((await load('listed.test', { pem })).body).toMatchObject({ loaded: true });
    const bind = async (filters: string) => {
      await writeFile(
        `${made.path}/list.txt`,
        `# the site\n${made.path}/outside.pem\n${lab.path('certs/listed.test.pem')} [alpn h2] ${filters}\n`,
      );
      await writeFile(
        config,
        `${text}\nfrontend listed\n  mode http\n  bind 127.0.0.1:${port} ssl crt-list ${made.path}/list.txt strict-sni\n`,
      );
      expect((await lab.api('POST', '/configuration/reload')).body).toMatchObject({ reloaded: true });
    };
    await bind('');
    expect(await lab.servedSerial('listed.test', port)).toBe(
      new X509Certificate(outside.certificate).serialNumber,
    );
    expect(await info('listed.test')).toMatchObject({
      loaded: false,
      served_instead: [
        expect.stringMatching(
          `^listed\\.test on 127.0.0.1:${port}: visitors get the certificate with the serial`,
        ),
      ],
    });
    await bind('www.listed.test');
    expect(await info('listed.test')).toMatchObject({ loaded: true, served_instead: [] });
    await writeFile(config, text);
    expect((await lab.api('POST', '/configuration/reload')).status).toBe(200);
    await lab.api('DELETE', '/certificates/listed.test');
  });

  it('load > of rivals at the same time, with reloads, ends with one winner, and loaded says which', async () => {
    const reloads = async () => {
      for (let count = 0; count < 2; count += 1)
        expect((await lab.api('POST', '/configuration/reload')).status).toBe(200);
    };
    const domains = ['a.race.test', 'b.race.test', 'c.race.test'];
    const pems: MadeCertificate[] = [];
    for (const domain of domains) pems.push(await make(domain, 'shared.race.test'));
    const [answers] = await Promise.all([
      Promise.all(domains.map((domain, index) => load(domain, { pem: pems[index]?.pem }))),
      reloads(),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    const serial = await lab.servedSerial('shared.race.test');
    const now = await Promise.all(domains.map((domain) => info(domain)));
    expect(now.map(({ serial: own, loaded }) => loaded === (own === serial))).toEqual([true, true, true]);
    expect(now.filter(({ loaded }) => loaded)).toHaveLength(1);
    for (const [index, domain] of domains.entries())
      expect(await lab.servedSerial(domain)).toBe(now[index]?.serial);
    for (const domain of domains) await lab.api('DELETE', `/certificates/${domain}`);
  });

  it('loaded > tries each of 100 names', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `n${index}.many.test`);
    const { body } = await load('many.test', { pem: (await make(...names)).pem });
    expect(body).toMatchObject({ loaded: true, served_instead: [] });
    await load('n73.many.test', { pem: (await make('n73.many.test')).pem });
    const now = await info('many.test');
    expect(now.loaded).toBe(false);
    expect(now.served_instead).toContainEqual(
      expect.stringMatching(/^n73\.many\.test on .*n73\.many\.test\.pem$/),
    );
    expect(now.served_instead.every((text) => text.startsWith('n73.many.test '))).toBe(true);
    for (const name of ['many.test', 'n73.many.test']) await lab.api('DELETE', `/certificates/${name}`);
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
      ['stapled.pem', 'needs the certificate of the CA'],
    ];
    await put('README', 'Put certificates here.\n');
    await put('empty.pem', '');
    await symlink('/nonexistent/x.pem', lab.path('certs/link.pem'));
    await put('mismatch.pem', one.certificate + other.key);
    await put('nokey.pem', one.certificate);
    await put('stapled.pem', one.pem);
    await put('stapled.pem.ocsp', 'the response');
    const found = await health();
    expect(found.status).toBe('degraded');
    for (const [file, reason] of broken)
      expect(found.detail).toMatch(new RegExp(`${lab.path('certs', file)}: [^;]*${reason}`, 'i'));
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
