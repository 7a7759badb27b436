import { once } from 'node:events';
import type { Server } from 'node:http';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AcmeLab } from '../kit/acme-lab.js';
import { CertificateLab } from '../kit/certificate-lab.js';
import { makeCertificate } from '../kit/certificates.js';
import { freePort } from '../kit/free-port.js';
import { oldestHaproxy } from '../kit/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { filesBelow } from '../kit/secrets.js';
import { servedSerial } from '../kit/served-serial.js';
import { emptyDisk, fillDisk, type SmallDisk, smallDisk } from '../kit/small-disk.js';
import { makeHome, Suite } from '../kit/suite.js';

const NOTES = { wildcard: false, failures: 0, last_attempt: null, last_error: null };

/** Whether a process of this group is there, other than as a zombie that nobody has waited for. */
async function groupRuns(group: number): Promise<boolean> {
  for (const pid of await readdir('/proc')) {
    const stat = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '') : '';
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(pgrp) === group && state !== 'Z') return true;
  }
  return false;
}

describe('with acme.sh at work', { timeout: 300_000 }, () => {
  let acme: AcmeLab;
  let lab: CertificateLab;

  beforeAll(async () => {
    acme = await AcmeLab.start({ zones: ['example.org'] });
    ({ lab } = acme);
  });
  afterEach(() => acme.release());
  afterAll(() => acme?.stop());

  it('a suite that is killed leaves no acme.sh, nothing half-done, and an operation that says so', async () => {
    const httpsPort = await freePort();
    const home = await makeHome(oldestHaproxy(), {
      ...acme.env,
      PATH: lab.env['PATH'] ?? '',
      HAPROXY_HTTPS_BIND: `127.0.0.1:${httpsPort}`,
    });
    let suite = await Suite.start(home);
    try {
      const { work } = await acme.hold(() =>
        suite.api<{ operation: { id: string } }>('POST', '/certificates', { domain: 'killed.example.com' }),
      );
      const { body } = await work;
      const group = Number(await readFile(join(home.path, 'acme/running.pid'), 'utf8'));
      expect(await groupRuns(group)).toBe(true);
      await suite.kill();
      suite = await Suite.start(home);
      // Killed it is; being gone takes a busy machine a moment.
      await until(async () => !(await groupRuns(group)), { what: 'acme.sh being gone' });
      expect((await suite.api('GET', `/operations/${body.operation.id}`)).body).toMatchObject({
        status: 'interrupted',
        error: { code: 'shutting_down' },
      });
      expect((await suite.api('GET', '/certificates')).body).toMatchObject({ items: [], total: 0 });
      expect(await servedSerial('killed.example.com', httpsPort)).toBeUndefined();
      for (const folder of ['acme/certs', 'acme/backup', 'certs'])
        expect(await readdir(join(home.path, folder)), folder).toEqual([]);
      const again = await suite.api('POST', '/certificates?wait=true', { domain: 'killed.example.com' });
      expect(again.body).toMatchObject({ renewed: true, loaded: true });
      expect(await servedSerial('killed.example.com', httpsPort)).toBe(again.body['serial']);
    } finally {
      await suite.stop();
      await home.remove();
    }
  });

  it('a first issue that its last caller leaves ends acme.sh, and leaves nothing', async () => {
    const token = await lab.token();
    const before = await filesBelow(lab.path('certs'));
    const gone = new AbortController();
    const { work } = await acme.hold(() =>
      fetch(`${lab.url}/api/v1/certificates?wait=true`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ domain: 'left.example.org' }),
        signal: gone.signal,
      }),
    );
    const group = Number(await readFile(lab.path('acme/running.pid'), 'utf8'));
    gone.abort();
    await expect(work).rejects.toThrow('abort');
    await until(async () => !(await groupRuns(group)), { what: 'acme.sh being ended' });
    await until(async () => !(await lab.exists('acme/running.pid')), { what: 'its end being noticed' });
    await until(async () => (await readdir(lab.path('acme/backup'))).length === 0, {
      what: 'what it left being put away',
    });
    const audit = () => readFile(lab.path('data/audit.jsonl'), 'utf8');
    await until(async () => (await audit()).includes('left.example.org'), { what: 'a line of audit' });
    expect((await lab.api('GET', '/certificates/left.example.org')).body).toMatchObject({
      code: 'certificate_not_found',
    });
    expect(await filesBelow(lab.path('certs'))).toEqual(before);
    for (const name of await readdir(lab.path('acme/certs'))) expect(name).not.toContain('left.example.org');
    expect(await lab.servedSerial('left.example.org')).toBeUndefined();
    // Nothing is in the way of the next try.
    acme.release();
    expect((await acme.issue({ domain: 'left.example.org' })).body).toMatchObject({ loaded: true });
    expect((await lab.api('DELETE', '/certificates/left.example.org')).status).toBe(200);
  });

  it('a HAProxy that goes away before it gets the certificate costs only the new one', async () => {
    const issued = await acme.issue({ domain: 'example.com' });
    expect(issued.body).toMatchObject({ loaded: true });
    const kept = async () => [
      await readFile(lab.path('certs/example.com.pem'), 'utf8'),
      await filesBelow(lab.path('acme/certs')),
    ];
    const before = await kept();
    const { work: answer } = await acme.hold(() => acme.renew('example.com'));
    await lab.stopHaproxy();
    acme.release();
    const { status, body } = await answer;
    expect({ status, code: body['code'] }).toEqual({ status: 503, code: 'haproxy_unavailable' });
    expect(await kept()).toEqual(before);
    await lab.startHaproxy();
    expect(await lab.servedSerial('example.com')).toBe(issued.body['serial']);
    expect((await lab.api('GET', '/certificates/example.com')).body).toMatchObject({
      auto_renew: true,
      last_error: expect.stringContaining('haproxy_unavailable'),
    });
  });

  it('a deletion waits for the renewal of its certificate, and not for the issue of another', async () => {
    const mine = await makeCertificate(acme.pebble.folder, { names: ['mine.test'] });
    await lab.api('POST', '/certificates/mine.test/load', { pem: mine.pem });
    const { pem } = await makeCertificate(acme.pebble.folder, { names: ['new.example.org'] });
    const { work: answer } = await acme.hold(() => acme.issue({ domain: 'new.example.org' }));
    expect((await lab.api('DELETE', '/certificates/mine.test')).status).toBe(200);
    const deleted = lab.api('DELETE', '/certificates/new.example.org');
    // Another request that is answered meanwhile came after it.
    await once(lab.app.getHttpServer() as Server, 'request');
    expect((await lab.api('GET', '/certificates')).status).toBe(200);
    const loaded = lab.api('POST', '/certificates/new.example.org/load', { pem });
    acme.release();
    expect((await answer).body).toMatchObject({ renewed: true, loaded: true });
    expect((await deleted).status).toBe(200);
    expect((await loaded).body).toMatchObject({ loaded: true, auto_renew: false });
    expect(await lab.servedSerial('new.example.org')).toBe((await loaded).body['serial']);
    expect(await lab.exists('acme/certs/new.example.org_ecc')).toBe(false);
    expect(await readFile(lab.settings.files.certificates, 'utf8')).not.toContain('new.example.org');
  });
});

describe('with certificates that are there', () => {
  let disk: SmallDisk;
  let notes: SmallDisk;
  let lab: CertificateLab;

  const file = (domain: string) => join(disk.path, `${domain}.pem`);
  const make = async (domain: string) => (await makeCertificate(lab.home, { names: [domain] })).pem;
  const load = (domain: string, pem?: string) =>
    lab.api('POST', `/certificates/${domain}/load`, pem === undefined ? {} : { pem });
  const info = async (domain: string) => (await lab.api('GET', `/certificates/${domain}`)).body;
  const managed = (...domains: string[]) =>
    writeFile(
      lab.settings.files.certificates,
      JSON.stringify({
        version: 1,
        renew_minute: 1,
        certificates: Object.fromEntries(domains.map((domain) => [domain, NOTES])),
      }),
    );
  /** One that the suite takes for its own. */
  const own = async (domain: string) => {
    const { body } = await load(domain, await make(domain));
    await lab.stopSuite();
    await managed(domain);
    await lab.startSuite();
    expect(await info(domain)).toMatchObject({ loaded: true, auto_renew: true });
    return String(body['serial']);
  };

  beforeAll(async () => {
    disk = await smallDisk();
    notes = await smallDisk();
    lab = await CertificateLab.start({
      env: { HAPROXY_CERT_DIR: disk.path, HAPROXY_CERTIFICATES_FILE: join(notes.path, 'certificates.json') },
    });
  });
  afterAll(async () => {
    await lab?.stop();
    await disk?.remove();
    await notes?.remove();
  });

  it('a full disk changes nothing, whichever file has no room', async () => {
    const serial = await own('full.test');
    const before = await readFile(file('full.test'), 'utf8');
    for (const full of [disk, notes]) {
      await fillDisk(full.path);
      const refused = [await load('full.test', await make('full.test'))];
      if (full === disk) refused.push(await load('another.test', await make('another.test')));
      else refused.push(await lab.api('DELETE', '/certificates/full.test'));
      for (const { status, body } of refused)
        expect({ status, code: body['code'] }).toEqual({ status: 507, code: 'storage_failed' });
      expect(await readFile(file('full.test'), 'utf8')).toBe(before);
      expect(await lab.servedSerial('full.test')).toBe(serial);
      expect(await lab.servedSerial('another.test')).toBeUndefined();
      expect(await info('full.test')).toMatchObject({ serial, loaded: true, auto_renew: true });
      await emptyDisk(full.path);
      expect((await readdir(full.path)).filter((name) => /\.tmp$|deleted/.test(name))).toEqual([]);
    }
    expect((await lab.api('DELETE', '/certificates/full.test')).status).toBe(200);
    expect(await lab.servedSerial('full.test')).toBeUndefined();
    expect(await readdir(disk.path)).toEqual([]);
  });

  it('a deletion that was cut off is either done or undone by the next start', async () => {
    const serial = await own('cut.test');
    const cut = async () => {
      await lab.stopSuite();
      await rename(file('cut.test'), join(disk.path, '.cut.test.pem.deleted'));
      await mkdir(lab.path('acme/certs/cut.test_ecc'), { recursive: true });
      // The same as HAProxy has after the deletion went that far.
      await lab.stopHaproxy();
      await lab.startHaproxy();
      expect(await lab.servedSerial('cut.test')).toBeUndefined();
    };
    await cut();
    await lab.startSuite();
    expect(await info('cut.test')).toMatchObject({ serial, loaded: true, auto_renew: true });
    expect(await lab.servedSerial('cut.test')).toBe(serial);
    await cut();
    await managed();
    await lab.startSuite();
    expect(await info('cut.test')).toMatchObject({ code: 'certificate_not_found' });
    expect(await readdir(disk.path)).toEqual([]);
    expect(await lab.exists('acme/certs/cut.test_ecc')).toBe(false);
  });

  it('deletions and restores at the same time leave nothing served that is not there', async () => {
    for (let round = 0; round < 10; round += 1) {
      await load('race.test', await make('race.test'));
      const [deleted] = await Promise.all([
        lab.api('DELETE', '/certificates/race.test'),
        lab.api('POST', '/state/restore'),
        load('race.test'),
        lab.api('POST', '/state/restore'),
      ]);
      expect(deleted.status).toBe(200);
      expect(await lab.servedSerial('race.test')).toBeUndefined();
      expect(await readdir(disk.path)).toEqual([]);
    }
  });

  it('one that a bind names by itself is kept from deletion, and served by all as before', async () => {
    const serial = await own('named.test');
    await lab.stopHaproxy();
    const config = lab.settings.files.config;
    const text = await readFile(config, 'utf8');
    const port = await freePort();
    await writeFile(
      config,
      `${text}\nfrontend named\n  mode http\n  bind 127.0.0.1:${port} ssl crt ${file('named.test')}\n`,
    );
    await lab.startHaproxy();
    await until(async () => (await info('named.test'))['loaded'] === true, { what: 'HAProxy being back' });
    const { status, body } = await lab.api('DELETE', '/certificates/named.test');
    expect({ status, code: body['code'] }).toEqual({ status: 502, code: 'haproxy_rejected' });
    for (const bind of [port, lab.httpsPort]) expect(await lab.servedSerial('named.test', bind)).toBe(serial);
    expect(await info('named.test')).toMatchObject({ serial, loaded: true, auto_renew: true });
    expect(await readdir(disk.path)).toEqual(['named.test.pem']);
    const replaced = await load('named.test', await make('named.test'));
    for (const bind of [port, lab.httpsPort])
      expect(await lab.servedSerial('named.test', bind)).toBe(replaced.body['serial']);
  });
});
