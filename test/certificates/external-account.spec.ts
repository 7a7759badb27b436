import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AcmeLab } from '../kit/certificates/acme-lab.js';
import { leaks, watchArguments } from '../kit/certificates/secrets.js';

const hmacKey = randomBytes(32).toString('base64url');
const kid = 'kid-1';
let acme: AcmeLab;

beforeAll(async () => {
  acme = await AcmeLab.start({
    externalAccount: { kid, hmacKey },
    env: { ACME_EMAIL: 'admin@example.com', LOG_LEVEL: 'DEBUG' },
  });
});
afterAll(() => acme?.stop());

it('issue > needs the external account if the CA requires one', { timeout: 300_000 }, async () => {
  const { lab } = acme;
  const rejected = await acme.issue({ domain: 'example.com' });
  expect(rejected.body['detail']).toMatch(/ACME_EAB_KID/);
  await lab.restartSuite({ ACME_EAB_KID: kid, ACME_EAB_HMAC_KEY: hmacKey });
  const seen = await watchArguments(lab.bin);
  const { status, body } = await acme.issue({ domain: 'example.com' });
  const argumentsSeen = await seen.stop();
  expect(body).toMatchObject({ loaded: true });
  expect(status).toBe(200);
  expect(argumentsSeen).toContain('--register-account');
  const hex = Buffer.from(hmacKey, 'base64url').toString('hex');
  const base64 = Buffer.from(hmacKey, 'base64url').toString('base64');
  expect(await leaks(lab, [hmacKey, hex, base64, acme.token], argumentsSeen)).toEqual([]);
});
