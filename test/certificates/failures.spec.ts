import { readdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AcmeLab } from '../kit/certificates/acme-lab.js';
import type { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { makeDatedCertificate } from '../kit/certificates/certificates.js';
import { until } from '../kit/poll.js';
import { filesBelow } from '../kit/certificates/secrets.js';

let acme: AcmeLab;
let lab: CertificateLab;

const info = (domain: string) => lab.api('GET', `/certificates/${domain}`);

/** Checks that a failure changes neither the file, nor acme.sh's folder of the domain, nor what HAProxy serves. */
async function expectUnchanged(domain: string, fail: () => Promise<void>): Promise<void> {
  const file = lab.path(`certs/${domain}.pem`);
  const before = await readFile(file, 'utf8');
  const home = await filesBelow(lab.path('acme/certs', `${domain}_ecc`));
  const serial = await lab.servedSerial(domain);
  await fail();
  expect(await readFile(file, 'utf8')).toBe(before);
  expect(await filesBelow(lab.path('acme/certs', `${domain}_ecc`))).toEqual(home);
  expect(await lab.servedSerial(domain)).toBe(serial);
}

/** Replaces the stored certificate with one of 90 days that has 20 days left. The next start of the suite loads it. */
async function makeDue(domain: string): Promise<void> {
  const day = 24 * 3600 * 1000;
  const [from, to] = [new Date(Date.now() - 70 * day), new Date(Date.now() + 20 * day)];
  const { pem } = await makeDatedCertificate(acme.pebble.folder, domain, from, to);
  await writeFile(lab.path(`certs/${domain}.pem`), pem);
}

beforeAll(async () => {
  acme = await AcmeLab.start({ zones: ['example.org', 'blocked.example'] });
  ({ lab } = acme);
});
afterEach(() => acme.release());
afterAll(() => acme?.stop());

describe('failure', { timeout: 300_000 }, () => {
  it('issue > reports a zone that the Cloudflare account lacks before it runs acme.sh', async () => {
    const { status, body } = await acme.issue({ domain: 'not-owned.test', wildcard: true });
    expect(status).toBe(502);
    expect(body).toMatchObject({
      code: 'acme_failed',
      detail: expect.stringContaining('no zone that contains not-owned.test'),
    });
    expect(await lab.exists('acme/certs/not-owned.test_ecc')).toBe(false);
    expect((await info('not-owned.test')).status).toBe(404);
  });

  it('issue > quotes the CA that does not issue for the domain', async () => {
    const { body } = await acme.issue({ domain: 'www.blocked.example' });
    expect(body).toMatchObject({ code: 'acme_failed' });
    expect(body['detail']).toMatch(/does not issue certificates for this domain.*polic|blocked/i);
    expect(await lab.exists('acme/certs/www.blocked.example_ecc')).toBe(false);
    expect((await readdir(lab.path('certs'))).join()).not.toContain('blocked');
  });

  it('renew > changes nothing after a wrong token, an unreachable CA, a time-out or a missing acme.sh', async () => {
    await acme.issue({ domain: 'example.com' });
    const renew = () => acme.renew('example.com');
    const withSettings = async (env: Record<string, string>, work: () => Promise<void>) => {
      await lab.restartSuite(env);
      await expectUnchanged('example.com', work);
      const { body } = await info('example.com');
      expect(body).toMatchObject({
        auto_renew: true,
        loaded: true,
        last_error: expect.stringContaining('acme_'),
      });
    };
    const wrong = `wrong-${acme.token}`;
    await withSettings({ CF_Token: wrong }, async () => {
      const { status, body } = await renew();
      expect(status).toBe(502);
      expect(body['detail']).toMatch(/Cloudflare rejected the credentials.*Invalid access token.*CF_Token/);
      expect(JSON.stringify(body) + lab.log).not.toContain(wrong);
    });
    await withSettings({ ACME_SERVER: 'https://127.0.0.1:1/dir' }, async () => {
      const { status, body } = await renew();
      expect(status).toBe(502);
      expect(body['detail']).toMatch(/acme\.sh cannot reach the CA/);
    });
    await withSettings({ ACME_TIMEOUT: '1' }, async () => {
      acme.cloudflare.holdRecord();
      const { status, body } = await renew();
      acme.release();
      expect(status).toBe(504);
      expect(body).toMatchObject({ code: 'acme_timeout' });
    });
    await withSettings({ ACME_SH: lab.path('missing/acme.sh') }, async () => {
      const { body } = await renew();
      expect(body['detail']).toMatch(/no executable acme\.sh at ACME_SH=.*Install it/);
    });
    await lab.restartSuite({});
    expect((await renew()).body).toMatchObject({ renewed: true });
    expect((await info('example.com')).body).not.toHaveProperty('last_error');
  });

  it('renew all > renews the others after a failure, and the schedule backs off from the failed one', async () => {
    await acme.issue({ domain: 'www.example.org', wildcard: true });
    await makeDue('example.com');
    await makeDue('www.example.org');
    await lab.restartSuite({});
    acme.cloudflare.zones.delete('example.org');
    try {
      const before = await lab.servedSerial('example.com');
      const kept = await lab.servedSerial('www.example.org');
      const { body } = await lab.api('POST', '/certificates/renew?wait=true');
      expect(body).toMatchObject({
        renewed: ['example.com'],
        failed: [{ domain: 'www.example.org', code: 'acme_failed' }],
      });
      expect(await lab.servedSerial('example.com')).not.toBe(before);
      expect(await lab.servedSerial('www.example.org')).toBe(kept);
    } finally {
      acme.cloudflare.zones.add('example.org');
    }
    const { body: health } = await lab.api<{ components: Record<string, unknown> }>('GET', '/health');
    expect(health.components['certificates']).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('www.example.org'),
    });
    const metrics = await (
      await fetch(`${lab.url}/metrics`, { headers: { authorization: `Bearer ${await lab.token()}` } })
    ).text();
    expect(metrics).toMatch(/^haproxy_suite_certificates_issued_total\{outcome="done"\} [1-9]/m);
    expect(metrics).toMatch(/^haproxy_suite_certificates_issued_total\{outcome="acme_failed"\} [1-9]/m);
    expect(metrics).toMatch(/^haproxy_suite_certificate_days_left\{domain="example.com"\} 89/m);
    // All certificates are due. The schedule skips the certificate that has just failed, and renews the other.
    await makeDue('example.com');
    const before = await lab.servedSerial('example.com');
    await lab.restartSuite({ CERT_RENEW_CRON: '* * * * * *' });
    await until(() => lab.log.includes('Scheduled renewal: 1 renewed, 1 not due or backed off, 0 failed'), {
      timeout: 60_000,
      what: 'a scheduled renewal',
    });
    expect(await lab.servedSerial('example.com')).not.toBe(before);
    await lab.restartSuite({});
    expect((await info('www.example.org')).body).toHaveProperty('last_error');
    const audit = await readFile(lab.path('data/audit.jsonl'), 'utf8');
    expect(audit).toMatch(
      /"actor":"suite","via":"internal","operation":"haproxy_renew_scheduled",.*"outcome":"ok"/,
    );
    for (const secret of [acme.token, 'PRIVATE KEY', await lab.token()]) expect(audit).not.toContain(secret);
  });

  it('renew > succeeds after acme.sh was killed', async () => {
    await expectUnchanged('example.com', async () => {
      const { work: failing } = await acme.hold(() => acme.renew('example.com'));
      const pid = Number(await readFile(lab.path('acme/running.pid'), 'utf8'));
      process.kill(-pid, 'SIGKILL');
      expect((await failing).status).toBe(502);
    });
    const { body } = await acme.renew('example.com');
    expect(body).toMatchObject({ renewed: true, loaded: true });
  });
});
