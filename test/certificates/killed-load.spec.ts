import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { makeCertificate } from '../kit/certificates/certificates.js';
import { startFaultyRuntimeApi } from '../kit/haproxy/faulty-runtime-api.js';
import { until } from '../kit/poll.js';
import { type Home, Suite } from '../kit/suite/suite.js';

it('start > keeps the managed certificate that a killed suite was replacing', async () => {
  const lab = await CertificateLab.start();
  const socket = join(lab.home, 'run/faulty.sock');
  const faulty = await startFaultyRuntimeApi(socket, lab.env['HAPROXY_SOCKET']!);
  const make = async () => (await makeCertificate(lab.home, { names: ['own.test'] })).pem;
  const load = async (pem: string, suite: Pick<Suite, 'api'>) =>
    suite.api('POST', '/certificates/own.test/load', { pem });
  try {
    const { body } = await load(await make(), lab);
    await lab.stopSuite();
    const entry = { wildcard: false, failures: 0, last_attempt: null, last_error: null };
    const certificates = { 'own.test': entry };
    await writeFile(
      lab.settings.files.certificates,
      JSON.stringify({ version: 1, renew_minute: 1, certificates }),
    );
    const home: Home = {
      path: lab.home,
      httpPort: 0,
      apiPort: lab.settings.api.port,
      env: { ...lab.env, HAPROXY_SOCKET: socket },
      file: (name) => join(lab.home, 'conf', name),
      remove: async () => undefined,
    };
    const killed = await Suite.start(home);
    faulty.hangAt = 'set ssl cert';
    const interrupted = load(await make(), killed).catch(() => undefined);
    await until(() => faulty.isHanging, { what: 'the command with the new certificate' });
    await killed.kill();
    await interrupted;
    faulty.hangAt = undefined;

    const suite = await Suite.start(home);
    const { serial } = body;
    expect(await suite.api('GET', '/certificates/own.test')).toMatchObject({
      body: { serial, loaded: true, auto_renew: true },
    });
    expect(await lab.servedSerial('own.test')).toBe(serial);
    expect(await readdir(lab.path('certs'))).toEqual(['own.test.pem']);
    const loaded = await load(await make(), suite);
    expect(loaded.body).toMatchObject({ loaded: true, auto_renew: false });
    expect(await readdir(lab.path('certs'))).toEqual(['own.test.pem']);
    await suite.stop();
  } finally {
    await faulty.close();
    await lab.stop();
  }
}, 300_000);
