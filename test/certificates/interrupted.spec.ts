import { once } from 'node:events';
import type { Server } from 'node:http';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AcmeLab } from '../kit/certificates/acme-lab.js';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { makeCertificate } from '../kit/certificates/certificates.js';
import { scaled } from '../chaos/scale.js';
import { freePort } from '../kit/free-port.js';
import { oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { filesBelow } from '../kit/certificates/secrets.js';
import { servedSerial } from '../kit/certificates/served-serial.js';
import { emptyDisk, fillDisk, type SmallDisk, smallDisk } from '../kit/suite/small-disk.js';
import { makeHome, Suite } from '../kit/suite/suite.js';

const ENTRY = { wildcard: false, failures: 0, last_attempt: null, last_error: null };

/** Whether a process of this group runs. A zombie does not count. */
async function isGroupRunning(group: number): Promise<boolean> {
  for (const pid of await readdir('/proc')) {
    const stat = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '') : '';
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(pgrp) === group && state !== 'Z') return true;
  }
  return false;
}

describe('while acme.sh runs', { timeout: 300_000 }, () => {
  let acme: AcmeLab;
  let lab: CertificateLab;

  beforeAll(async () => {
    acme = await AcmeLab.start({ zones: ['example.org'] });
    ({ lab } = acme);
  });
  afterEach(() => acme.release());
  afterAll(() => acme?.stop());

  it('start > stops the acme.sh of a killed suite, restores the folders and marks the operation as interrupted', async () => {
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
      expect(await isGroupRunning(group)).toBe(true);
      await suite.kill();
      suite = await Suite.start(home);
      // The process is killed, but may need time to disappear.
      await until(async () => !(await isGroupRunning(group)), { what: 'the end of acme.sh' });
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

  it('issue > stops acme.sh and leaves no file if its last caller disconnects', async () => {
    const token = await lab.token();
    const before = await filesBelow(lab.path('certs'));
    const disconnect = new AbortController();
    const { work } = await acme.hold(() =>
      fetch(`${lab.url}/api/v1/certificates?wait=true`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ domain: 'left.example.org' }),
        signal: disconnect.signal,
      }),
    );
    const group = Number(await readFile(lab.path('acme/running.pid'), 'utf8'));
    disconnect.abort();
    await expect(work).rejects.toThrow('abort');
    await until(async () => !(await isGroupRunning(group)), { what: 'the end of acme.sh' });
    await until(async () => !(await lab.exists('acme/running.pid')), {
      what: 'the deletion of the PID file',
    });
    await until(async () => (await readdir(lab.path('acme/backup'))).length === 0, {
      what: 'the restored backup',
    });
    const audit = () => readFile(lab.path('data/audit.jsonl'), 'utf8');
    await until(async () => (await audit()).includes('left.example.org'), {
      what: 'a line in the audit log',
    });
    expect((await lab.api('GET', '/certificates/left.example.org')).body).toMatchObject({
      code: 'certificate_not_found',
    });
    expect(await filesBelow(lab.path('certs'))).toEqual(before);
    for (const name of await readdir(lab.path('acme/certs'))) expect(name).not.toContain('left.example.org');
    expect(await lab.servedSerial('left.example.org')).toBeUndefined();
    // The next attempt succeeds.
    acme.release();
    expect((await acme.issue({ domain: 'left.example.org' })).body).toMatchObject({ loaded: true });
    expect((await lab.api('DELETE', '/certificates/left.example.org')).status).toBe(200);
  });

  it('renew > keeps the old certificate if HAProxy stops before the new one is installed', async () => {
    const issued = await acme.issue({ domain: 'example.com' });
    expect(issued.body).toMatchObject({ loaded: true });
    const kept = async () => [
      await readFile(lab.path('certs/example.com.pem'), 'utf8'),
      await filesBelow(lab.path('acme/certs')),
    ];
    const before = await kept();
    const { work: renewal } = await acme.hold(() => acme.renew('example.com'));
    await lab.stopHaproxy();
    acme.release();
    const { status, body } = await renewal;
    expect({ status, code: body['code'] }).toEqual({ status: 503, code: 'haproxy_unavailable' });
    expect(await kept()).toEqual(before);
    await lab.startHaproxy();
    expect(await lab.servedSerial('example.com')).toBe(issued.body['serial']);
    expect((await lab.api('GET', '/certificates/example.com')).body).toMatchObject({
      auto_renew: true,
      last_error: expect.stringContaining('haproxy_unavailable'),
    });
  });

  it('delete > waits for a change of the same certificate, and not for one of another', async () => {
    const mine = await makeCertificate(acme.pebble.folder, { names: ['mine.test'] });
    await lab.api('POST', '/certificates/mine.test/load', { pem: mine.pem });
    const { pem } = await makeCertificate(acme.pebble.folder, { names: ['new.example.org'] });
    const { work: issue } = await acme.hold(() => acme.issue({ domain: 'new.example.org' }));
    expect((await lab.api('DELETE', '/certificates/mine.test')).status).toBe(200);
    const deleted = lab.api('DELETE', '/certificates/new.example.org');
    // The suite has received the deletion, and still answers another request.
    await once(lab.app.getHttpServer() as Server, 'request');
    expect((await lab.api('GET', '/certificates')).status).toBe(200);
    const loaded = lab.api('POST', '/certificates/new.example.org/load', { pem });
    acme.release();
    expect((await issue).body).toMatchObject({ renewed: true, loaded: true });
    expect((await deleted).status).toBe(200);
    expect((await loaded).body).toMatchObject({ loaded: true, auto_renew: false });
    expect(await lab.servedSerial('new.example.org')).toBe((await loaded).body['serial']);
    expect(await lab.exists('acme/certs/new.example.org_ecc')).toBe(false);
    expect(await readFile(lab.settings.files.certificates, 'utf8')).not.toContain('new.example.org');
  });
});

describe('without acme.sh', () => {
  let disk: SmallDisk;
  let recordDisk: SmallDisk;
  let lab: CertificateLab;

  const file = (domain: string) => join(disk.path, `${domain}.pem`);
  const make = async (domain: string) => (await makeCertificate(lab.home, { names: [domain] })).pem;
  const load = (domain: string, pem?: string) =>
    lab.api('POST', `/certificates/${domain}/load`, pem === undefined ? {} : { pem });
  const info = async (domain: string) => (await lab.api('GET', `/certificates/${domain}`)).body;
  const writeManaged = (...domains: string[]) =>
    writeFile(
      lab.settings.files.certificates,
      JSON.stringify({
        version: 1,
        renew_minute: 1,
        certificates: Object.fromEntries(domains.map((domain) => [domain, ENTRY])),
      }),
    );
  /** Loads a certificate, and records that the suite renews it. */
  const loadManaged = async (domain: string) => {
    const { body } = await load(domain, await make(domain));
    await lab.stopSuite();
    await writeManaged(domain);
    await lab.startSuite();
    expect(await info(domain)).toMatchObject({ loaded: true, auto_renew: true });
    return String(body['serial']);
  };

  beforeAll(async () => {
    disk = await smallDisk();
    recordDisk = await smallDisk();
    lab = await CertificateLab.start({
      env: {
        HAPROXY_CERT_DIR: disk.path,
        HAPROXY_CERTIFICATES_FILE: join(recordDisk.path, 'certificates.json'),
      },
    });
  });
  afterAll(async () => {
    await lab?.stop();
    await disk?.remove();
    await recordDisk?.remove();
  });

  it('load, delete > changes nothing if a disk is full', async () => {
    const serial = await loadManaged('full.test');
    const before = await readFile(file('full.test'), 'utf8');
    for (const full of [disk, recordDisk]) {
      await fillDisk(full.path);
      const failed = [await load('full.test', await make('full.test'))];
      if (full === disk) failed.push(await load('another.test', await make('another.test')));
      else failed.push(await lab.api('DELETE', '/certificates/full.test'));
      for (const { status, body } of failed)
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

  it('start > completes or undoes the deletion of a killed suite', async () => {
    const serial = await loadManaged('cut.test');
    const interruptDelete = async () => {
      await lab.stopSuite();
      await rename(file('cut.test'), join(disk.path, '.cut.test.pem.deleted'));
      await mkdir(lab.path('acme/certs/cut.test_ecc'), { recursive: true });
      // HAProxy starts without the file, as after a deletion that was interrupted here.
      await lab.stopHaproxy();
      await lab.startHaproxy();
      expect(await lab.servedSerial('cut.test')).toBeUndefined();
    };
    await interruptDelete();
    await lab.startSuite();
    expect(await info('cut.test')).toMatchObject({ serial, loaded: true, auto_renew: true });
    expect(await lab.servedSerial('cut.test')).toBe(serial);
    await interruptDelete();
    await writeManaged();
    await lab.startSuite();
    expect(await info('cut.test')).toMatchObject({ code: 'certificate_not_found' });
    expect(await readdir(disk.path)).toEqual([]);
    expect(await lab.exists('acme/certs/cut.test_ecc')).toBe(false);
  });

  it('delete > leaves no certificate in HAProxy when it runs together with restores and loads', async () => {
    for (let round = 0; round < scaled(10, 3); round += 1) {
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

  it('delete > fails for a certificate that a bind names itself, and all binds serve it as before', async () => {
    const serial = await loadManaged('named.test');
    await lab.stopHaproxy();
    const config = lab.settings.files.config;
    const text = await readFile(config, 'utf8');
    const port = await freePort();
    await writeFile(
      config,
      `${text}\nfrontend named\n  mode http\n  bind 127.0.0.1:${port} ssl crt ${file('named.test')}\n`,
    );
    await lab.startHaproxy();
    await until(async () => (await info('named.test'))['loaded'] === true, {
      what: 'the certificate in HAProxy',
    });
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
