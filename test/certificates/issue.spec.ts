import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificate-lab.js';
import { type FakeCloudflare, startFakeCloudflare } from '../kit/fake-cloudflare.js';
import { type Pebble, startPebble } from '../kit/pebble.js';
import { toolPath } from '../kit/tool-path.js';

const TOKEN = `cf-token-${randomBytes(12).toString('hex')}`;
let pebble: Pebble;
let cloudflare: FakeCloudflare;
let lab: CertificateLab;

beforeAll(async () => {
  pebble = await startPebble();
  cloudflare = await startFakeCloudflare(pebble, TOKEN);
  lab = await CertificateLab.start({
    env: {
      HOME: cloudflare.home,
      ACME_SH: toolPath('acme.sh'),
      ACME_SERVER: pebble.directory,
      ACME_CA_BUNDLE: pebble.caBundle,
      ACME_DNS_SLEEP: '0',
      CF_Token: TOKEN,
    },
  });
});

afterAll(async () => {
  await lab?.stop();
  await cloudflare?.close();
  await pebble?.stop();
});

describe('issue', () => {
  it('gets a certificate, has HAProxy serve it and answers with it', async () => {
    const { status, body } = await lab.api('POST', '/certificates?wait=true', { domain: 'example.com' });
    console.error(status, body, lab.log);
    expect(status).toBe(200);
    expect(await lab.servedSerial('example.com')).toBe(body['serial']);
  });
});
