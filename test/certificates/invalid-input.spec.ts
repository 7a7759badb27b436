import { execFile } from 'node:child_process';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import {
  type MadeCertificate,
  makeCertificate,
  makeDatedCertificate,
} from '../kit/certificates/certificates.js';
import { filesBelow } from '../kit/certificates/secrets.js';
import { tempHome } from '../kit/temp-home.js';

const run = promisify(execFile);

describe('invalid input', () => {
  let lab: CertificateLab;
  let made: Awaited<ReturnType<typeof tempHome>>;
  let good: MadeCertificate;
  let other: MadeCertificate;

  beforeAll(async () => {
    made = await tempHome();
    lab = await CertificateLab.start();
    good = await makeCertificate(made.path, { names: ['good.test'] });
    other = await makeCertificate(made.path, { names: ['good.test'] });
  });
  afterAll(async () => {
    await lab?.stop();
    await made?.remove();
  });

  const encrypted = async () => {
    const { stdout } = await run('openssl', [
      'pkey',
      '-aes128',
      '-passout',
      'pass:x',
      '-in',
      `${made.path}/made-1.key`,
    ]).catch(() => ({
      stdout: '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n',
    }));
    return good.certificate + stdout;
  };

  it.each<[string, () => string | Promise<string>]>([
    ['no key', () => good.certificate],
    ['two keys', () => good.pem + other.key],
    ['an encrypted key', encrypted],
    ['a key that does not match', () => good.certificate + other.key],
    ['garbage', () => 'garbage\nshow info\n'],
    ['nothing', () => ''],
    ['a NUL in it', () => good.pem.replace('\n', '\n\0')],
    ['a path instead', () => '/etc/ssl/private/key.pem'],
    ['a command in it', () => `${good.pem}\n\nshutdown sessions\n-----BEGIN X-----`],
    ['a megabyte', () => good.pem + 'x'.repeat(1_000_000)],
  ])('load > rejects a PEM with %s before it reaches the disk or HAProxy', async (_what, text) => {
    const before = await lab.command('show ssl cert\n');
    const { status, body } = await lab.api('POST', '/certificates/good.test/load', { pem: await text() });
    expect({ status, code: body['code'] }).toEqual({ status: 422, code: 'validation_failed' });
    const result = await lab.tool('haproxy_load_cert', { domain: 'good.test', pem: await text() });
    // An empty text from a tool means "not given" (SPEC section 5), and there is no file to load.
    const refusal = (await text()) === '' ? 'certificate_not_found' : 'validation_failed';
    expect(result).toMatchObject({ isError: true, structuredContent: { code: refusal } });
    expect(await readdir(lab.path('certs'))).toEqual([]);
    expect(await lab.command('show ssl cert\n')).toBe(before);
    const key = good.key.split('\n')[1] ?? '';
    expect(lab.answers + lab.log).not.toContain(key);
  });

  it.each([
    '*.example.com',
    'exa mple.com',
    '-x.example.com',
    '../../etc/passwd',
    '/etc/passwd',
    'example.com/..',
    '..',
    'example.com\0',
    'example.com/../../x.test',
    '..%2f..%2fx.test',
    'example.com.pem/',
    'example.com;show info',
    'example.com\nshow info',
    `${'a'.repeat(64)}.com`,
    `${'a.'.repeat(130)}com`,
    `${'a.'.repeat(114)}com`,
    '$(id).example.com',
    "example.com'",
    '',
  ])('all operations > reject the name %j before it reaches the disk, acme.sh or HAProxy', async (domain) => {
    const before = (await filesBelow(lab.home)).filter(({ path }) => !path.includes('/data/'));
    const issued = await lab.api('POST', '/certificates?wait=true', { domain });
    expect(issued.body).toMatchObject({ code: 'validation_failed' });
    for (const [method, path] of [
      ['POST', `/certificates/${encodeURIComponent(domain)}/load`],
      ['POST', `/certificates/${encodeURIComponent(domain)}/renew`],
      ['DELETE', `/certificates/${encodeURIComponent(domain)}`],
    ] as const) {
      const { status } = await lab.api(method, path, method === 'POST' ? { pem: good.pem } : undefined);
      expect([404, 422]).toContain(status);
    }
    for (const [tool, given] of [
      ['haproxy_issue_cert', {}],
      ['haproxy_load_cert', { pem: good.pem }],
      ['haproxy_renew_cert', { force: true }],
      ['haproxy_delete_cert', {}],
      ['haproxy_cert_info', {}],
    ] as const)
      expect(await lab.tool(tool, { domain, ...given })).toMatchObject({
        isError: true,
        structuredContent: { code: 'validation_failed' },
      });
    expect((await filesBelow(lab.home)).filter(({ path }) => !path.includes('/data/'))).toEqual(before);
    expect(await lab.exists('acme')).toBe(false);
  });

  it('health > is degraded with half of the renewal window left, and down with a tenth, for every lifetime', async () => {
    const DAY = 24 * 3600 * 1000;
    /** `days`: the lifetime; `left`: days until the certificate expires. */
    const load = async (days: number, left: number) => {
      const now = Date.now();
      const [from, to] = [new Date(now + (left - days) * DAY), new Date(now + left * DAY)];
      const { pem } = await makeDatedCertificate(made.path, 'soon.test', from, to);
      await lab.api('POST', '/certificates/soon.test/load', { pem });
      const { body } = await lab.api<{ status: string; components: { certificates: object } }>(
        'GET',
        '/health',
      );
      return { overall: body.status, ...body.components.certificates };
    };
    // 90 days: the window is ACME_RENEW_DAYS, 30 days.
    expect(await load(90, 15.1)).toMatchObject({ overall: 'healthy', status: 'healthy', days_left: 15 });
    expect(await load(90, 14.9)).toMatchObject({ overall: 'degraded', status: 'degraded', days_left: 14 });
    expect(await load(90, 3.1)).toMatchObject({ overall: 'degraded', status: 'degraded', days_left: 3 });
    expect(await load(90, 2.9)).toMatchObject({ overall: 'down', status: 'down', days_left: 2 });
    const result = await lab.tool('haproxy_health');
    expect(JSON.stringify(result.structuredContent)).toContain('soon.test expires in 2 day(s)');
    // 6 days: the window is 3 days.
    expect(await load(6, 5.9)).toMatchObject({
      status: 'healthy',
      detail: expect.stringContaining('5 day(s)'),
    });
    expect(await load(6, 1.4)).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('soon.test expires in 33 h'),
    });
    expect(await load(6, 0.25)).toMatchObject({ status: 'down', days_left: 0 });
    await lab.api('DELETE', '/certificates/soon.test');
  });

  it('all operations > answer 404 for an unknown certificate or operation', async () => {
    const unknown = '/certificates/unknown.test';
    for (const [method, path] of [
      ['GET', unknown],
      ['DELETE', unknown],
      ['POST', `${unknown}/load`],
      // At once, not in a job whose record has the error.
      ['POST', `${unknown}/renew`],
      ['POST', `${unknown}/renew?wait=true`],
    ] as const)
      expect((await lab.api(method, path)).body).toMatchObject({
        status: 404,
        code: 'certificate_not_found',
      });
    const missing = await lab.api('GET', '/operations/0d9c1f5e-7a52-4d0e-8c35-2f0f6a3f9d11');
    expect(missing.body).toMatchObject({ status: 404 });
  });

  it('list > skips a file that is not a certificate', async () => {
    await writeFile(lab.path('certs/broken.pem'), 'garbage');
    await writeFile(lab.path('certs/good.test.pem'), good.pem);
    const { body } = await lab.api<{ items: { domain: string }[] }>('GET', '/certificates');
    expect(body.items.map(({ domain }) => domain)).toEqual(['good.test']);
    await rm(lab.path('certs/broken.pem'));
    await rm(lab.path('certs/good.test.pem'));
  });

  it('load > writes no file if HAProxy does not run', async () => {
    await lab.stopHaproxy();
    try {
      const { body } = await lab.api('POST', '/certificates/good.test/load', { pem: good.pem });
      expect(body).toMatchObject({ code: 'haproxy_unavailable' });
      expect(await readdir(lab.path('certs'))).toEqual([]);
      expect((await lab.api('GET', '/certificates')).status).toBe(200);
    } finally {
      await lab.startHaproxy();
    }
  });
});
